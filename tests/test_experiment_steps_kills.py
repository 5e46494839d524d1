"""Steps of an experiment that is killed or interrupted while their commands run."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from processes import descendants, survivors
from sjft_tools.experiment.run_lock import run_lock


def start_run(
    folder: Path, script: str, settled: float = 0, **options: Any
) -> subprocess.Popen[bytes]:
    """Run the one step `script`, which makes the file out, in a process of its own.

    `settled`: for how many seconds further signals count as the first one.
    """
    code = """
        import os, signal, sys
        from sjft_tools.experiment import step_process
        from sjft_tools.experiment.run_lock import run_lock
        from sjft_tools.experiment.step import Step
        from sjft_tools.experiment.steps import Steps
        for number in (signal.SIGINT, signal.SIGTERM):  # as the command sjft does
            signal.signal(number, signal.default_int_handler)
        step_process._SETTLED_S = float(sys.argv[2])
        with run_lock(".") as lock:
            Steps(".", lock).run(Step("1", ["sh", "-c", sys.argv[1]], [], ["out"]))
    """
    words = [sys.executable, "-c", textwrap.dedent(code), script, str(settled)]
    return subprocess.Popen(words, cwd=folder, **options)


def wait_for(path: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for a file; not in vain, if it is `process` that makes it."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_locked(folder: Path) -> bool:
    with open(folder / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# begins, and once it is asked to end does so when the file "go" is there
SLOW = """trap 'touch ending; while [ ! -e go ]; do sleep 0.05; done; touch ended; exit 1' TERM
touch begun; while :; do sleep 0.05; done"""


def test_an_output_made_before_a_kill_is_taken(tmp_path: Path) -> None:
    script = "echo ran >> log; touch out; kill -9 $PPID; exec sleep 300"
    assert start_run(tmp_path, script).wait(300) == -signal.SIGKILL
    assert not (tmp_path / "steps" / "1.done.json").exists()
    assert start_run(tmp_path, script).wait(300) == 0
    assert (tmp_path / "steps" / "1.done.json").exists()
    assert (tmp_path / "log").read_text() == "ran\n"


def test_a_killed_run_takes_its_command_along(tmp_path: Path) -> None:
    """The next run waits until that command has ended."""
    process = start_run(tmp_path, SLOW)
    wait_for(tmp_path / "begun", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(tmp_path / "ending")
    assert is_locked(tmp_path)
    (tmp_path / "go").touch()
    with run_lock(str(tmp_path)):
        assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_an_interrupted_run_waits_for_its_command(tmp_path: Path, number: int) -> None:
    process = start_run(tmp_path, SLOW, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "begun", process)
    process.send_signal(number)
    wait_for(tmp_path / "ending", process)
    assert process.poll() is None
    (tmp_path / "go").touch()
    assert process.wait(300) != 0
    assert (tmp_path / "ended").exists()
    assert (tmp_path / "logs" / "1.log").read_text().endswith("# was stopped\n")


def test_signals_that_come_together_are_one(tmp_path: Path) -> None:
    process = start_run(tmp_path, SLOW, settled=3600, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "begun", process)
    process.send_signal(signal.SIGINT)
    wait_for(tmp_path / "ending", process)
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    (tmp_path / "go").touch()
    assert process.wait(300) != 0
    assert (tmp_path / "ended").exists()


def test_another_signal_ends_it_at_once(tmp_path: Path) -> None:
    process = start_run(tmp_path, SLOW, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "begun", process)
    command = descendants(process.pid)[0]
    process.send_signal(signal.SIGINT)
    wait_for(tmp_path / "ending", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) != 0
    assert not survivors([command])
