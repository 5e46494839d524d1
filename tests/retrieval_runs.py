"""A small retrieval, and a process that has imported everything and forks runs of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from conftest import draw_image, write_image_lmdb
from processes import killed_at_last, start, stopping, wait_until_stopped

# Reads {"argv": [...], "cwd": ..., "log": ..., "kill_at": n} a line; forks, prints the child's pid,
# then its exit status. With kill_at the child ends itself by SIGKILL before its n-th file operation
# below cwd.
_FORKER = """
import json, os, signal, sys, traceback
from sjft_tools import cli

def run(job):
    os.chdir(job["cwd"])
    seen = 0

    def count(event, arguments):
        nonlocal seen
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir"):
            if os.fspath(arguments[0]).startswith(job["cwd"]) or event == "os.rmdir":
                seen += 1
                if seen >= job["kill_at"]:  # another thread may have counted meanwhile
                    os.kill(os.getpid(), signal.SIGKILL)

    if job["kill_at"]:
        sys.addaudithook(count)
    cli.main(job["argv"])

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            output = os.open(job["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.setsid()
            run(job)
            status = 0
        except SystemExit as error:
            status = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


#: What its runs would import.
_RETRIEVAL = """
import contextlib
from sjft_tools.banks import gabor
from sjft_tools.commands import fit_bins, merge, retrieve

with contextlib.suppress(ImportError):
    import numba
"""


class Forker:
    """Runs ``sjft`` in processes of their own that need not import anything first."""

    def __init__(self, log: Path, prelude: str = _RETRIEVAL) -> None:
        """`prelude`: Python text that imports what the runs need, and sets things up for them."""
        self._log = log
        self._before = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", prelude + _FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, cwd: Path, *arguments: object, kill_at: int = 0) -> int:
        """Start a run; return its pid."""
        self._before = self._log.stat().st_size if self._log.exists() else 0
        job = {"argv": [str(part) for part in arguments], "cwd": str(cwd), "log": str(self._log)}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({**job, "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def status(self) -> int:
        """Wait for the run that was started last; return its exit status, -9 if it was killed."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def run(self, cwd: Path, *arguments: object, kill_at: int = 0) -> int:
        """Do both."""
        self.start(cwd, *arguments, kill_at=kill_at)
        return self.status()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def text(self) -> str:
        """Return what the last run has printed."""
        return self._log.read_bytes()[self._before :].decode()


@contextmanager
def forker(log: Path, prelude: str = _RETRIEVAL) -> Iterator[Forker]:
    made = Forker(log, prelude)
    try:
        yield made
    finally:
        made.close()


FIT = ("fit-bins", "target", "bins.npz", "--bank", "gabor", "--bins", 8, "--resize", 8)


class World(NamedTuple):
    """A folder with the LMDBs target and source and bins.npz, of the Gabor bank."""

    folder: Path
    runs: Forker

    def command(self, output: str, *options: object, k: int = 5) -> list[object]:
        """Return the arguments of a retrieval of `k` neighbours.

        By numpy, for processes of their own would take seconds to import torch.
        """
        inputs = ("retrieve", "target", "source", output, "--bins-file", "bins.npz", "--k", k)
        return [*inputs, "--backend", "numpy", "--product", "numpy", *options]

    def sjft(self, *arguments: object, status: int = 0) -> str:
        """Run ``sjft`` in the folder, check its exit status, return its output."""
        found = self.runs.run(self.folder, *arguments)
        assert found == status, self.runs.text()
        return self.runs.text()

    def content(self, output: str) -> dict[str, bytes]:
        """Return the bytes of a neighbour LMDB's files."""
        return {path.name: path.read_bytes() for path in (self.folder / output).iterdir()}

    def debris(self, output: str = "") -> list[str]:
        """Return the hidden files and folders, or only those of `output`."""
        hidden = f".{output}." if output else "."
        return sorted(name for name in os.listdir(self.folder) if name.startswith(hidden))


def make_world(folder: Path, sources: int, runs: Forker) -> World:
    """Write six targets, `sources` sources and the bins."""
    folder.mkdir(exist_ok=True)
    write_image_lmdb(folder / "target", [draw_image(i, 16, 16) for i in range(6)], [0] * 6)
    images = [draw_image(1000 + i, 16, 16) for i in range(sources)]
    write_image_lmdb(folder / "source", images, [i % 3 for i in range(sources)])
    world = World(folder, runs)
    world.sjft(*FIT)
    return world


#: The name by which a shard is done.
SHARD = r"/shard-[0-9]+[.]json$"


@contextmanager
def stopped_in_mid_run(
    world: World, shards: int, *arguments: object, prelude: str = "", **variables: str
) -> Iterator[subprocess.Popen]:
    """Start ``sjft``; the block begins when it has done `shards` shards, and has stopped.

    SIGCONT lets it go on; at the end of the block it is killed. `prelude`: see stopping().
    """
    command = stopping(SHARD, shards, prelude)
    with killed_at_last(start(*command, *arguments, cwd=world.folder, **variables)) as run:
        wait_until_stopped(run)
        yield run


def kill(pid: int) -> None:
    """Kill a run and what it started; a run that has just ended is as good as killed."""
    for send in (os.killpg, os.kill):  # until it has a group of its own, it has started nothing
        with suppress(ProcessLookupError):
            send(pid, signal.SIGKILL)
            return
