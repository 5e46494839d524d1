"""``sjft train`` beside ``caffe train``: the same weights, the same values; and going on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from caffe_nets import BODY
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
    write_solver,
)

PER_CLASS = BODY.replace('top: "accuracy"', 'top: "accuracy" top: "per_class"')


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def by_caffe(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The job as ``caffe train`` does it: the folder, and its log."""
    folder = write_job(tmp_path_factory.mktemp("caffe"), world)
    return folder, caffe_train(folder)


@pytest.fixture(scope="module")
def long_by_caffe(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The long job, which can be held, as ``caffe train`` does it."""
    folder = write_job(tmp_path_factory.mktemp("long"), world, held_after(45), **LONG)
    return folder, caffe_train(folder, PYTHONPATH=python_path())


def test_the_same_snapshots_and_values_as_caffe_train(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world)
    words = train(tmp_path)
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert len(snapshots(tmp_path)) == 8
    assert table(tmp_path) == displayed(by_caffe[1])
    assert not debris(tmp_path)
    assert "done after iteration 20: weights in x_iter_20.caffemodel, values in x_tr" in words
    assert "20/20" in words and "test_accuracy" in words
    log = (tmp_path / "x_train.log").read_text()
    assert displayed(log) == displayed(by_caffe[1])
    assert "Optimization Done." in log and "Creating Layer conv" in log


def test_values_of_smoothed_losses_several_passes_and_several_test_nets(
    world: World, tmp_path: Path
) -> None:
    changes = {
        "average_loss": 3,
        "iter_size": 2,
        "test_iter": [2, 3],
        "display": 3,
        "max_iter": 18,
        "snapshot": 4,
        "type": '"Adam"',
        "momentum2": 0.99,
    }
    ours, theirs = write_job(tmp_path / "ours", world, PER_CLASS, **changes), tmp_path / "theirs"
    write_job(theirs, world, PER_CLASS, **changes)
    expected = displayed(caffe_train(theirs), test_nets=2)
    train(ours)
    assert table(ours) == expected
    assert {"test0_per_class[4]", "test1_total_loss", "train_source_loss"} <= {
        column for _, column in expected
    }
    assert snapshots(ours) == snapshots(theirs)


def test_no_snapshots_no_display_no_tests(world: World, tmp_path: Path) -> None:
    write_job(
        tmp_path,
        world,
        snapshot=0,
        snapshot_after_train="false",
        display=0,
        test_iter=None,
        test_interval=None,
        snapshot_prefix=None,
    )
    assert "done after iteration 20: no weights were saved" in train(tmp_path)
    assert (tmp_path / "solver_train.csv").read_text().count("\n") == 1
    assert not list(tmp_path.glob("*.caffemodel"))


def test_ten_iterations_and_ten_more(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, max_iter=10)
    train(tmp_path)
    write_solver(tmp_path)
    assert "goes on after iteration 10, from x_iter_10.solverstate" in train(tmp_path, "--resume")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert_same_values(table(tmp_path), displayed(by_caffe[1]))
    log = (tmp_path / "x_train.log").read_text()
    assert log.count("Solver scaffolding done.") == 2
    # a run that is complete is tested once more
    train(tmp_path, "--resume")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert_same_values(table(tmp_path), displayed(by_caffe[1]))


def test_goes_on_from_a_snapshot_of_caffe_train(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world)
    for path in by_caffe[0].glob("x_iter_*"):
        shutil.copy(path, tmp_path)
    words = train(tmp_path, "--snapshot", "x_iter_15.solverstate", status=2)
    assert "x_iter_20.solverstate and 1 more): they are later than x_iter_15.solverst" in words
    words = train(tmp_path, "--snapshot", "x_iter_15.solverstate", "--force")
    assert "goes on after iteration 15, from x_iter_15.solverstate" in words
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    expected = displayed(by_caffe[1])
    assert_same_values(table(tmp_path), {key: expected[key] for key in expected if key[0] >= 15})


def test_goes_on_after_the_folder_was_moved(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, snapshot_prefix='"moved/x"')
    (tmp_path / "moved").mkdir()
    for path in by_caffe[0].glob("x_iter_15.*"):  # their model is x_iter_15.caffemodel
        shutil.copy(path, tmp_path / "moved")
    words = train(tmp_path, "--resume")
    assert "goes on after iteration 15, from moved/x_iter_15.solverstate" in words
    assert (
        snapshots(tmp_path / "moved")["x_iter_20.caffemodel"]
        == snapshots(by_caffe[0])["x_iter_20.caffemodel"]
    )
    assert sorted(os.listdir(tmp_path / "moved"))[0] == "x_iter_15.caffemodel"


def test_caffe_train_goes_on_from_ours(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, max_iter=10)
    train(tmp_path)
    write_solver(tmp_path)
    caffe_train(tmp_path, "-snapshot", "x_iter_10.solverstate")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])


def test_weights(world: World, tmp_path: Path, by_caffe: tuple[Path, str]) -> None:
    weights = by_caffe[0] / "x_iter_20.caffemodel"
    ours, theirs = write_job(tmp_path / "ours", world), write_job(tmp_path / "theirs", world)
    caffe_train(theirs, "-weights", weights)
    train(ours, "--weights", weights)
    assert snapshots(ours) == snapshots(theirs)
    assert snapshots(ours) != snapshots(by_caffe[0])


def test_layers_that_weights_leave_as_they_were_are_named(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    weights = by_caffe[0] / "x_iter_20.caffemodel"
    body = BODY.replace('"target_score" type', '"other_score" type')
    write_job(tmp_path, world, body, max_iter=1, test_iter=None, test_interval=None)
    words = train(tmp_path, "--weights", weights)
    assert f"2 of 3 layers with weights start from {weights}; anew: 'other_score'" in words
    for name in ("conv", "source_score"):
        body = body.replace(f'"{name}" type', f'"other_{name}" type')
    write_job(tmp_path, world, body, max_iter=1, test_iter=None, test_interval=None)
    words = train(tmp_path, "--weights", weights, "--force", status=2)
    assert "has no layer of the net: expected one by the name of 'other_conv', 'other_s" in words


def test_force_starts_anew(world: World, tmp_path: Path, by_caffe: tuple[Path, str]) -> None:
    write_job(tmp_path, world, max_iter=24, random_seed=2)
    train(tmp_path)
    assert len(snapshots(tmp_path)) == 10
    write_solver(tmp_path)
    train(tmp_path, "--force")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert table(tmp_path) == displayed(by_caffe[1])


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
