"""``sjft retrieve`` on Dask: local workers, and a real scheduler with workers that get killed."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import processes
from retrieval_runs import SHARD, World, forker, make_world, stopped_in_mid_run

pytest.importorskip("distributed")

SHARDS = 24


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cluster")
    with forker(folder / "log") as runs:
        made = make_world(folder / "world", 100 * SHARDS, runs)
        made.sjft(*made.command("expected"))
        yield made


class Process:
    """``dask scheduler`` or ``dask worker``, and its log."""

    def __init__(self, log: Path, *arguments: str, **variables: str) -> None:
        self._log = log
        with open(log, "wb") as stream:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **variables},
                start_new_session=True,
            )

    def wait_for(self, pattern: str) -> str:
        """Return what the group of `pattern` matches in the log, once it does."""
        deadline = time.monotonic() + processes.PATIENCE_S
        while time.monotonic() < deadline and self.popen.poll() is None:
            match = re.search(pattern, self._log.read_text())
            if match:
                return match[1]
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Cluster:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._scheduler = self._start("scheduler", "scheduler", *options)
        self.address = self._scheduler.wait_for(r"Scheduler at:\s+(tcp://\S+)")

    def _start(self, name: str, *arguments: str, **variables: str) -> Process:
        folder = self._folder / name
        folder.mkdir()
        process = Process(folder / "log", *arguments, **variables)
        self._stack.callback(process.kill)
        return process

    @property
    def scheduler_pid(self) -> int:
        return self._scheduler.popen.pid

    def kill_scheduler(self) -> None:
        self._scheduler.kill()

    def worker(self, name: str, *options: str, **variables: str) -> Process:
        """Start a worker in a folder of its own; return once the scheduler knows it."""
        arguments = ("worker", self.address, "--name", name, "--nthreads", "1", "--no-dashboard")
        process = self._start(name, *arguments, "--no-nanny", *options, **variables)
        process.wait_for(r"(Registered to:)")
        return process


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(folder, stack)


# Does not wait for new workers for as long as ``sjft`` does.
HASTY = """
from sjft_tools.retrieval import team
team._PATIENCE_S = 6.0
"""


def hasty(world: World, *arguments: object, prelude: str = "") -> str:
    """Run ``sjft`` that waits less and fails; return what it says last."""
    program = f"{HASTY}{prelude}from sjft_tools import cli; cli.main()"
    command = (sys.executable, "-c", program, *arguments)
    return processes.run(*command, cwd=world.folder, status=2).splitlines()[-1]


def go_on(run: subprocess.Popen) -> str:
    """Let a stopped run go on to its end; return what it has printed."""
    run.send_signal(signal.SIGCONT)
    printed: str = run.communicate(timeout=600)[0]
    return printed


def test_local_workers(world: World) -> None:
    output = world.sjft(*world.command("local", "--workers", 2, "--shard-size", 100))
    assert f"{100 * SHARDS}/{100 * SHARDS}" in output
    assert "memory of each process: some " in output
    assert world.content("local") == world.content("expected")
    assert world.debris("local") == []


def test_local_workers_killed_with_their_run(world: World, tmp_path: Path) -> None:
    command = world.command("killed", "--workers", 2, "--shard-size", 100)
    with stopped_in_mid_run(world, 2, *command, TMPDIR=str(tmp_path)) as run:
        family = processes.descendants(run.pid)
    assert len(family) >= 2 and not processes.survivors(family)
    # Its folder for Dask's files is still there, and so is that of a run that is under way.
    assert len(list(tmp_path.glob("sjft_dask_*"))) == 1
    (tmp_path / "sjft_dask_other").mkdir()
    other = os.open(tmp_path / "sjft_dask_other" / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    processes.run(*processes.SJFT, *command, cwd=world.folder, TMPDIR=tmp_path)
    os.close(other)
    assert [path.name for path in tmp_path.glob("sjft_dask_*")] == ["sjft_dask_other"]
    assert world.content("killed") == world.content("expected")
    assert world.debris("killed") == []


def test_interrupted_while_local_workers_start(world: World, tmp_path: Path) -> None:
    command = world.command("early", "--workers", 2, "--shard-size", 100)
    run = subprocess.Popen(
        [*processes.stopping(SHARD), *map(str, command)],
        cwd=world.folder,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with processes.killed_at_last(run):
        # the tracker of multiprocessing's resources, and a worker that imports
        while len(processes.descendants(run.pid)) < 2:
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        printed = go_on(run)  # had it come to its first shard, it would be stopped
    assert run.returncode == 130, printed
    assert "Traceback" not in printed and "interrupted" in printed.splitlines()[-1]
    assert not list(tmp_path.glob("sjft_dask_*")) and world.debris("early") == []


def test_a_worker_killed_in_mid_run_loses_nothing(world: World, tmp_path: Path) -> None:
    with cluster(tmp_path) as dask:
        first, second = dask.worker("one"), dask.worker("two")
        command = world.command("out", "--scheduler", dask.address, "--shard-size", 100)
        with stopped_in_mid_run(world, 3, *command) as run:
            os.killpg(second.popen.pid, signal.SIGKILL)
            assert len(list(world.folder.glob(".out.work/shard-*.json"))) == 3
            printed = go_on(run)
        assert run.returncode == 0, printed
        assert second.popen.wait() == -9 and first.popen.poll() is None
    assert world.content("out") == world.content("expected")
    assert world.debris("out") == []


def test_without_workers_it_waits_in_vain_and_goes_on_later(world: World, tmp_path: Path) -> None:
    with cluster(tmp_path) as dask:
        line = hasty(world, *world.command("later", "--scheduler", dask.address))
        assert f"the Dask scheduler at {dask.address} has no workers: start some" in line
        only = dask.worker("only")
        command = world.command("later", "--scheduler", dask.address, "--shard-size", 100)
        with stopped_in_mid_run(world, 2, *command, prelude=HASTY) as run:
            only.kill()
            printed = go_on(run)
        assert run.returncode == 2
        assert "has no worker left: start some, then run the same command" in printed
        dask.worker("another")
        assert "| 0/2400" not in world.sjft(*command)
    assert world.content("later") == world.content("expected")
    line = hasty(world, *world.command("late", "--scheduler", dask.address))
    assert f"no Dask scheduler answers at {dask.address}" in line


def path_with(folder: Path, package: str, text: str) -> str:
    """Return a PYTHONPATH on which `package` is `text`, written into `folder`."""
    folder.mkdir()
    (folder / f"{package}.py").write_text(text)
    return f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"


@pytest.mark.parametrize("lacking", ["lmdb", "sjft_tools"])
def test_a_worker_that_lacks_a_package_is_named(lacking: str, world: World, tmp_path: Path) -> None:
    path = path_with(tmp_path / "stubs", lacking, f"raise ImportError('no {lacking} here')\n")
    with cluster(tmp_path) as dask:
        dask.worker("whole")
        dask.worker("poor", PYTHONPATH=path)
        command = world.command("poor", "--scheduler", dask.address)
        line = world.sjft(*command, status=2).splitlines()[-1]
    assert re.search(rf"the Dask worker tcp://\S+ \(poor\) cannot import {lacking}", line), line
    assert world.debris("poor") == []


def test_a_worker_that_sees_other_files_is_named(world: World, tmp_path: Path) -> None:
    # What /proc/self/cwd is depends on the process, as what a path is depends on the machine.
    command = [f"/proc/self/cwd/{a}" if a == "source" else a for a in world.command("blind")]
    with cluster(tmp_path) as dask:
        dask.worker("blind")
        line = world.sjft(*command, "--scheduler", dask.address, status=2).splitlines()[-1]
        assert re.search(
            r"the Dask worker tcp://\S+ \(blind\) cannot use its inputs: the source LMDB "
            r"/proc/self/cwd/source does not exist",
            line,
        ), line
        (tmp_path / "blind" / "source").symlink_to(world.folder / "target")
        line = world.sjft(*command, "--scheduler", dask.address, status=2).splitlines()[-1]
        assert "(blind) sees another source LMDB than" in line
    assert world.debris("blind") == []


def test_a_scheduler_that_ends_is_said_to_be_lost(world: World, tmp_path: Path) -> None:
    with cluster(tmp_path) as dask:
        dask.worker("one")
        command = world.command("lost", "--scheduler", dask.address, "--shard-size", 100)
        with stopped_in_mid_run(world, 2, *command, prelude=HASTY) as run:
            dask.kill_scheduler()
            printed = go_on(run)
        assert run.returncode == 2, printed
        assert "the connection to the Dask scheduler is lost" in printed.splitlines()[-1]
    world.sjft(*world.command("lost", "--shard-size", 100))
    assert world.content("lost") == world.content("expected")


def test_a_scheduler_that_ends_before_its_workers_are_checked(world: World, tmp_path: Path) -> None:
    with cluster(tmp_path) as dask:
        dask.worker("one")
        ends = f"""
import os, signal
check = team.Team.check

def check_without_scheduler(self):
    os.kill({dask.scheduler_pid}, signal.SIGKILL)
    check(self)

team.Team.check = check_without_scheduler
"""
        line = hasty(world, *world.command("alone", "--scheduler", dask.address), prelude=ends)
    assert "the connection to the Dask scheduler is lost: start it and its workers" in line


def test_a_worker_that_ends_while_it_is_checked_is_named(world: World, tmp_path: Path) -> None:
    dies = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    path = path_with(tmp_path / "stubs", "lmdb", dies)
    with cluster(tmp_path) as dask:
        dask.worker("whole")
        dask.worker("frail", PYTHONPATH=path)
        command = world.command("frail", "--scheduler", dask.address)
        line = world.sjft(*command, status=2).splitlines()[-1]
    assert re.search(r"the Dask worker tcp://\S+ could not be checked \(.+\): end it or", line), (
        line
    )
    assert world.debris("frail") == []
