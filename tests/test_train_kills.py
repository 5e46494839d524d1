"""``sjft train`` killed at any moment: the same command goes on to what a whole run would give."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from joint_world import World, make_world
from processes import caffe_train, descendants, survivors
from train_job import (
    ENDLESS,
    LONG,
    assert_same_values,
    debris,
    displayed,
    has_trained,
    said,
    snapshots,
    start,
    table,
    train,
    wait_until,
    write_job,
)

KILLS = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def by_caffe(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The long job as ``caffe train`` does it: the folder, and its log."""
    folder = write_job(tmp_path_factory.mktemp("caffe"), world, **LONG)
    return folder, caffe_train(folder)


def test_killed_at_random_moments_and_started_by_the_same_command(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    theirs, log = by_caffe
    ours = write_job(tmp_path / "ours", world, **LONG)
    generator = random.Random(1)
    killed, longest_s = 0, 2.5
    while killed < KILLS:
        process = start(ours, "--resume")
        begun = ours / ".x.partial" / "solver.prototxt"
        while not begun.exists() and process.poll() is None:
            time.sleep(0.01)
        family = []
        deadline = time.monotonic() + generator.uniform(0, longest_s)
        while process.poll() is None and time.monotonic() < deadline:
            family = descendants(process.pid)
            time.sleep(0.02)
        if process.poll() is not None:
            if killed >= 3:
                break
            longest_s /= 2  # the machine is too fast to be caught before the end
            shutil.rmtree(ours)
            write_job(ours, world, **LONG)
            continue
        process.kill()
        process.wait()
        killed += 1
        assert not survivors(family)
        for name in snapshots(ours):
            assert name in snapshots(theirs)
    train(ours, "--resume")
    assert snapshots(ours) == snapshots(theirs)
    assert_same_values(table(ours), displayed(log))
    assert not debris(ours)


def test_no_snapshot_is_ahead_of_the_values(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, **LONG)
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 30), process, tmp_path)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)  # for the process that trains to run ahead
    process.kill()
    process.wait()
    train(tmp_path, "--resume")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert_same_values(table(tmp_path), displayed(by_caffe[1]))


def test_the_process_that_trains_is_killed(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, **{**ENDLESS, "snapshot": 20})
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 30), process, tmp_path)
    os.kill(descendants(process.pid)[0], signal.SIGKILL)
    assert process.wait(timeout=600) == 1
    assert re.search(
        r"error: the process that trains ended after iteration \d+: it ended by SIGKILL, by hand "
        r"or because memory ran out; its log is x_train.log; the newest snapshot is (x_iter_\d+)"
        r".solverstate: 'sjft train solver.prototxt --resume' goes on from it",
        said(tmp_path),
    )
    assert not debris(tmp_path)
