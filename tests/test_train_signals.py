"""``sjft train`` under signals: a snapshot is taken, and the end is as if they had not come."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from joint_world import World, make_world
from processes import caffe_train, descendants
from train_job import (
    LONG,
    assert_same_values,
    debris,
    displayed,
    has_trained,
    held_after,
    python_path,
    said,
    snapshots,
    start,
    table,
    train,
    wait_until,
    write_job,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def long_by_caffe(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The long job, which can be held, as ``caffe train`` does it."""
    folder = write_job(tmp_path_factory.mktemp("long"), world, held_after(45), **LONG)
    return folder, caffe_train(folder, PYTHONPATH=python_path())


def test_signals_take_a_snapshot_and_the_end_is_as_if_they_had_not_come(
    world: World, tmp_path: Path, long_by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, held_after(45), **LONG)
    hold = tmp_path / "hold"
    before = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        hold.touch()
        process = start(tmp_path, *(["--resume"] if before else []))
        wait_until(has_trained(tmp_path, before + 20), process, tmp_path)
        process.send_signal(number)
        wait_until(lambda: "leaves after this iteration" in said(tmp_path), process, tmp_path)
        hold.unlink()
        assert process.wait(timeout=600) == 128 + number
        found = re.search(
            rf"stopped by {number.name} after iteration (\d+): 'sjft train solver.prototxt "
            r"--resume' goes on from x_iter_(\d+).solverstate",
            said(tmp_path),
        )
        assert found is not None and found.group(1) == found.group(2), said(tmp_path)
        stopped = int(found.group(1))
        assert before + 20 <= stopped < LONG["max_iter"]
        assert (tmp_path / f"x_iter_{stopped}.caffemodel").exists()
        assert not debris(tmp_path)
        before = stopped
    train(tmp_path, "--resume")
    ours, theirs = snapshots(tmp_path), snapshots(long_by_caffe[0])
    assert {name: ours[name] for name in theirs} == theirs
    assert_same_values(table(tmp_path), displayed(long_by_caffe[1]))


def test_a_signal_ends_a_long_test_at_once(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, test_iter=1000000)
    process = start(tmp_path)
    log = tmp_path / "x_train.log"
    wait_until(lambda: log.exists() and "Testing net" in log.read_text(), process, tmp_path)
    wait_until(lambda: (tmp_path / "x_train.csv").exists(), process, tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 128 + signal.SIGTERM
    words = said(tmp_path)
    assert "after iteration 0: 'sjft train solver.prototxt --resume' starts from the begi" in words
    assert not snapshots(tmp_path) and not debris(tmp_path)


# For which all signals of a test come close together, however slow the machine.
PATIENT = """
from sjft_tools import cli
from sjft_tools.training import launcher
launcher._SETTLED_S = 600.0
cli.main()
"""


@pytest.mark.parametrize(
    "second, pause_s",
    [(signal.SIGHUP, 0.0), (signal.SIGTERM, 0.01)],
    ids=["another", "the same"],
)
def test_signals_close_together_are_one(
    world: World,
    tmp_path: Path,
    long_by_caffe: tuple[Path, str],
    second: signal.Signals,
    pause_s: float,
) -> None:
    write_job(tmp_path, world, held_after(45), **LONG)
    hold = tmp_path / "hold"
    hold.touch()  # both come within one iteration
    process = start(tmp_path, sjft=(sys.executable, "-c", PATIENT))
    wait_until(has_trained(tmp_path, 20), process, tmp_path)
    process.send_signal(signal.SIGTERM)
    time.sleep(pause_s)
    process.send_signal(second)
    wait_until(lambda: "leaves after this iteration" in said(tmp_path), process, tmp_path)
    hold.unlink()
    assert process.wait(timeout=600) in (128 + signal.SIGTERM, 128 + second)
    found = re.search(r"after iteration (\d+): 'sjft .*' goes on from x_iter_\1\.s", said(tmp_path))
    assert found is not None, said(tmp_path)
    assert (tmp_path / f"x_iter_{found.group(1)}.solverstate").exists()
    train(tmp_path, "--resume")
    ours, theirs = snapshots(tmp_path), snapshots(long_by_caffe[0])
    assert {name: ours[name] for name in theirs} == theirs


def test_a_signal_while_the_process_is_being_started(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, held_after(-1))
    (tmp_path / "hold").touch()  # training does not begin, should the signal come late
    for _ in range(3):
        process = start(tmp_path)
        solver = tmp_path / ".x.partial" / "solver.prototxt"
        while not solver.exists():  # it is written just before
            assert process.poll() is None, said(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=600) == 128 + signal.SIGTERM
        assert "stopped by SIGTERM before training began: nothing was lost" in said(tmp_path)
        assert not snapshots(tmp_path) and not debris(tmp_path)


def test_a_later_second_signal_ends_it_at_once(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, **{**LONG, "max_iter": 10**9, "snapshot": 0})
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 20), process, tmp_path)
    os.kill(descendants(process.pid)[0], signal.SIGSTOP)  # an iteration that takes long
    process.send_signal(signal.SIGINT)
    wait_until(
        lambda: "SIGINT: leaves after this" in said(tmp_path),
        process,
        tmp_path,
    )
    time.sleep(2)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=600) == 128 + signal.SIGHUP
    words = said(tmp_path)
    assert re.search(
        r"stopped by SIGHUP after iteration \d+ without a snapshot: 'sjft train", words
    )
    assert not snapshots(tmp_path) and not debris(tmp_path)
