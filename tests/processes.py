"""Processes: started, run to their ends, what they started, and what they left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

#: The command ``sjft``.
SJFT = (sys.executable, "-m", "sjft_tools.cli")


def start(*command: object, cwd: Path | None = None, **variables: object) -> subprocess.Popen:
    """Start a command with `variables` in its environment; one pipe holds both its outputs."""
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    *command: object,
    status: int | None = 0,
    cwd: Path | None = None,
    timeout_s: float = 300,
    **variables: object,
) -> str:
    """Run a command as `start` does, check its exit status, return both its outputs.

    `status`: None for any but 0.
    """
    with start(*command, cwd=cwd, **variables) as process:
        try:
            printed, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    is_expected = process.returncode == status if status is not None else process.returncode != 0
    assert is_expected, f"status {process.returncode}:\n{printed}"
    return printed


def read_until(stream: BufferedReader, wanted: bytes) -> None:
    """Read what a process prints until `wanted` is in it; fail if it ends before."""
    seen = b""
    while wanted not in seen:
        part = stream.read1()
        assert part, seen.decode()
        seen += part


def start_caffe_train(folder: Path) -> subprocess.Popen:
    """Start ``caffe train`` on the solver.prototxt in `folder`, to log all it does."""
    command = ("caffe", "train", "-solver", "solver.prototxt")
    return start(*command, cwd=folder, GLOG_minloglevel=0)


def caffe_train(
    folder: Path, *options: object, solver: object = "solver.prototxt", status: int | None = 0
) -> str:
    """Run ``caffe train`` in `folder`, check its exit status as `run` does, return its log."""
    command = ("caffe", "train", "-solver", solver, *options)
    return run(*command, cwd=folder, status=status, GLOG_minloglevel=0)


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, from any thread, its own first, and what these started."""
    own: list[int] = []
    # A thread, or the whole process, may end between any two of these readings.
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            with suppress(FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
                own += map(int, text.split())
    return own + [below for child in own for below in descendants(child)]


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def survivors(pids: Iterable[int], patience_s: float = 5) -> list[int]:
    """Those of the processes that have not ended within `patience_s` seconds."""
    alive = [pid for pid in pids if is_alive(pid)]
    deadline = time.monotonic() + patience_s
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [pid for pid in alive if is_alive(pid)]
    return alive


def shared_memory() -> set[str]:
    """The names in shared memory."""
    return set(os.listdir("/dev/shm"))


def stays_in_shared_memory(before: set[str]) -> set[str]:
    """The names that are not among those `before` and stay for a second: others come and go."""
    new = shared_memory() - before
    if new:
        time.sleep(1)
    return new & shared_memory()
