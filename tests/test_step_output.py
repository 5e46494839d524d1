"""What a step prints: on the terminal at once, in its log, and in the message when it fails."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sjft_tools import outlet
from sjft_tools.experiment import step_log
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.step_log import StepLog
from sjft_tools.experiment.steps import StepFailed, Steps
from sjft_tools.outlet import Outlet
from step_runs import run_all

RUN = """
import os, sys
from sjft_tools import outlet
outlet.PATIENCE_S = 2
from sjft_tools.outlet import Outlet
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.steps import Steps
step = Step("1", ["sh", "-c", sys.argv[1]], [], ["out"])
Steps(".", os.open(".", os.O_RDONLY)).run(step)
"""
RUN_TO_THE_END = f"""
from sjft_tools.outlet import let_go
try:
    {RUN.replace(chr(10), chr(10) + "    ")}
finally:
    let_go()
"""
PATIENCE_S = 300
# prints a line again and again, until the file "go" is there
TALK = "while [ ! -e go ]; do echo talk; sleep 0.02; done; echo last; touch out"


# prints more than anybody's buffers hold
MUCH = "i=0; while [ $i -lt 3000 ]; do echo $i ...................................................."
MUCH += "; i=$((i + 1)); done; echo last; touch out"


def start(folder: Path, script: str, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, script],
        cwd=folder,
        stdout=stdout,
        stderr=stderr,
    )


def test_a_failure_names_the_last_lines_and_how_to_go_on(tmp_path: Path) -> None:
    script = "for i in $(seq 30); do echo line $i; done; echo the reason >&2; exit 7"
    step = Step("1", ["sh", "-c", script], [], [str(tmp_path / "out")])
    with pytest.raises(StepFailed) as failed:
        Steps(str(tmp_path), os.open(tmp_path, os.O_RDONLY), "sjft run x.yaml").run(step)
    lines = str(failed.value).splitlines()
    assert lines[0].startswith("the step 'sh -c")
    log = tmp_path / "logs" / "1.log"
    assert lines[0].endswith(f"gave status 7; its last lines, all of which are in {log}:")
    assert sorted(lines[1:-1])[-1] == "    the reason" and "    line 30" in lines
    assert len(lines) == 2 + step_log.LAST_LINES
    assert lines[-1] == "Mend what they say, then go on with: sjft run x.yaml"
    logged = log.read_text().splitlines()
    assert logged[0].startswith("# 20") and "$ sh -c" in logged[0]
    assert logged[-1] == "# gave status 7"
    assert sorted(logged[1:-1]) == sorted([f"line {i}" for i in range(1, 31)] + ["the reason"])


def test_a_step_ended_by_a_signal(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="was ended by SIGKILL"):
        run_all(tmp_path, Step("1", ["sh", "-c", "kill -9 $$"], [], ["none"]))


def test_of_a_bar_the_log_keeps_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StepLog(str(tmp_path / "log"), "command")
    for piece in (b"first\nba", b"r 1\rbar 2", b"\rbar 3", b"\r     \rword\r\n", b"\rbar 4\rbar 5"):
        log.write(piece)
    log.close("ended")
    assert list(log.last_lines) == ["first", "word", "bar 5"]
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[1:] == ["first", "word", "bar 5", "# ended"]
    # and now and then what it shows
    monkeypatch.setattr(step_log, "BAR_INTERVAL_S", 0)
    log = StepLog(str(tmp_path / "log"), "again")
    log.write(b"\rbar 1")
    assert (tmp_path / "log").read_text().splitlines()[-1] == "bar 1"
    log.close("ended")


def test_both_streams_reach_their_places(tmp_path: Path) -> None:
    script = "echo to out; echo to err >&2; touch out"
    process = start(tmp_path, script, subprocess.PIPE, subprocess.PIPE)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert out.splitlines() == [f"$ sh -c '{script}'".encode(), b"to out"]
    assert err == b"to err\n"


def test_errors_stand_below_what_was_printed_before_them(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo $i; echo e$i >&2; done; touch out"
    process = start(tmp_path, script, subprocess.PIPE, subprocess.PIPE)
    process.communicate(timeout=PATIENCE_S)
    (log,) = tmp_path.rglob("*.log")
    last, errors = 0, 0
    for line in log.read_text().splitlines():
        if line.startswith("e"):
            errors += 1
            assert last >= int(line[1:])
        elif line.isdigit():
            last = int(line)
    assert (last, errors) == (2000, 2000)


def test_on_a_terminal_the_step_has_one(tmp_path: Path) -> None:
    """Its width too, and what it prints comes through byte by byte."""
    outer, inner = pty.openpty()
    subprocess.run(["stty", "cols", "123", "-onlcr"], stdin=inner, check=True)
    script = r"test -t 1 && test -t 2 && stty size <&1 && printf 'bar\rbar\r\n' && touch out"
    process = start(tmp_path, script, inner, inner)
    os.close(inner)
    printed = b""
    while b"bar\rbar\r\n" not in printed:
        printed += os.read(outer, 1000)
    assert b" 123\nbar\r" in printed
    assert process.wait(PATIENCE_S) == 0
    os.close(outer)


@pytest.mark.parametrize("kind", ("terminal", "pipe"))
def test_a_run_outlives_its_terminal(tmp_path: Path, kind: str) -> None:
    outer, inner = pty.openpty() if kind == "terminal" else os.pipe()
    process = start(tmp_path, TALK, inner, inner)
    os.close(inner)
    printed = b""
    while b"\ntalk" not in printed:
        printed += os.read(outer, 1000)
    os.close(outer)
    log = tmp_path / "logs" / "1.log"
    before = log.read_text().count("talk\n")
    while log.read_text().count("talk\n") < before + 5:
        assert process.poll() is None
        time.sleep(0.02)
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE_S) == 0
    assert log.read_text().endswith("last\n# gave status 0\n")
    assert (tmp_path / "steps" / "1.done.json").exists()


@pytest.mark.parametrize("kind", ("terminal", "pipe"))
def test_a_run_does_not_wait_for_its_terminal(tmp_path: Path, kind: str) -> None:
    """Stopped by Ctrl-S, or behind a connection that hangs: nobody reads."""
    outer, inner = pty.openpty() if kind == "terminal" else os.pipe()
    process = start(tmp_path, MUCH, inner, inner)
    assert process.wait(PATIENCE_S) == 0
    assert (tmp_path / "steps" / "1.done.json").exists()
    logged = (tmp_path / "logs" / "1.log").read_text().splitlines()
    assert [line.split()[0] for line in logged[1:-2]] == [str(i) for i in range(3000)]
    assert logged[-2:] == ["last", "# gave status 0"]
    assert os.read(outer, 100).startswith(b"$ sh -c 'i=0;")
    os.close(inner)
    os.close(outer)


def test_a_failure_ends_a_run_that_nobody_reads(tmp_path: Path) -> None:
    """Its last words are not waited for either."""
    outer, inner = pty.openpty()
    words = [sys.executable, "-c", RUN_TO_THE_END, MUCH + "; exit 3"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=inner, stderr=inner)
    assert process.wait(PATIENCE_S) == 1
    assert (tmp_path / "logs" / "1.log").read_text().endswith("last\n# gave status 3\n")
    os.close(inner)
    os.close(outer)


def fill(pipe: int) -> None:
    """Write dashes until no more go in."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"-")
    os.set_blocking(pipe, True)


def test_what_was_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "PATIENCE_S", 1)
    outer, inner = os.pipe()
    fill(inner)  # so that what is dropped does not depend on how fast it is written
    to, piece = Outlet(inner), b"x" * 10_000
    for _ in range(40):
        to.write(piece)
    read = b""
    while not to.settle():
        read += os.read(outer, 1 << 16)
    monkeypatch.setattr(outlet, "PATIENCE_S", PATIENCE_S)
    to.write(b"end")
    assert to.settle()
    read += os.read(outer, 1 << 16)
    shown, notice, end = read.lstrip(b"-").split(b"\n")
    assert end == b"end" and shown and set(shown) == {ord("x")}
    assert notice == f"[{40 * len(piece) - len(shown)} bytes were not shown]".encode()
    os.close(outer)
    os.close(inner)


def test_an_outlet_that_is_slow_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes something now and then: the writer waits for that."""
    monkeypatch.setattr(outlet, "PATIENCE_S", PATIENCE_S)
    outer, inner = os.pipe()
    lines = [f"{i} {'.' * 50}\n".encode() for i in range(8000)]
    writer = threading.Thread(
        target=lambda to: [to.write(line) for line in lines], args=[Outlet(inner)]
    )
    writer.start()
    read = b""
    while len(read) < len(b"".join(lines)):
        read += os.read(outer, 5000)
        time.sleep(0.005)
    writer.join()
    assert read == b"".join(lines)
    os.close(outer)
    os.close(inner)
