"""Processes: started, run to their ends, what they started, and what they left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

#: The command ``sjft``.
SJFT = (sys.executable, "-m", "sjft_tools.cli")
#: How long to wait for what happens at once on a machine that has nothing else to do.
PATIENCE_S = 60.0


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


@contextmanager
def killed_at_last(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """Kill `process` at the end of the block, however that ends, and wait for its end."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(
    *command: object,
    status: int | None = 0,
    cwd: Path | None = None,
    timeout_s: float = 1200,
    **variables: object,
) -> str:
    """Run a command as `start` does, check its exit status, return both its outputs.

    `status`: None for any but 0.
    """
    with killed_at_last(start(*command, cwd=cwd, **variables)) as process:
        printed, _ = process.communicate(timeout=timeout_s)
    is_expected = process.returncode == status if status is not None else process.returncode != 0
    assert is_expected, f"status {process.returncode}:\n{printed}"
    return printed


# Its arguments are a number, a pattern, and those of ``sjft``: see stopping().
_STOPPING = """
import os, re, signal, sys
from sjft_tools import cli

left, pattern = int(sys.argv.pop(1)), re.compile(sys.argv.pop(1))

def count(event, arguments):
    global left
    if event == "os.rename":
        path = arguments[1]
    elif event == "open" and arguments[2] & os.O_CREAT:
        path = arguments[0]
    else:
        return
    if not isinstance(path, int) and pattern.search(os.fsdecode(path)):
        left -= 1
        if left == -1:
            os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(count)
cli.main()
"""


def stopping(pattern: str, number: int = 0, prelude: str = "") -> tuple[str, ...]:
    """Return a command ``sjft`` that is in mid-run however long a test takes to look.

    It stops itself, until SIGCONT, when it is about to begin a file, or to rename one to a name,
    that matches `pattern` and has come `number` times before. `prelude`: Python text that it runs
    before all else.
    """
    return (sys.executable, "-c", prelude + _STOPPING, str(number), pattern)


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
    folder: Path,
    *options: object,
    solver: object = "solver.prototxt",
    status: int | None = 0,
    **variables: object,
) -> str:
    """Run ``caffe train`` in `folder`, check its exit status as `run` does, return its log."""
    command = ("caffe", "train", "-solver", solver, *options)
    return run(*command, cwd=folder, status=status, GLOG_minloglevel=0, **variables)


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


def state(pid: int) -> str:
    """The letter for what a process does, as in proc(5); Z once it has ended, gone or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    return state(pid) != "Z"


def wait_until_stopped(process: subprocess.Popen) -> None:
    """Wait until `process` was stopped by SIGSTOP; fail if it ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while state(process.pid) != "T":
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def survivors(pids: Iterable[int]) -> list[int]:
    """Those of the processes that have not ended after a long while."""
    alive = [pid for pid in pids if is_alive(pid)]
    deadline = time.monotonic() + PATIENCE_S
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [pid for pid in alive if is_alive(pid)]
    return alive


def shared_memory() -> set[str]:
    """The names in shared memory."""
    return set(os.listdir("/dev/shm"))


def stays_in_shared_memory(before: set[str]) -> set[str]:
    """The names that are not among those `before` and stay for long: others come and go."""
    new = shared_memory() - before
    deadline = time.monotonic() + PATIENCE_S
    while new and time.monotonic() < deadline:
        time.sleep(0.05)
        new &= shared_memory()
    return new
