"""``sjft train`` beside ``caffe train``: the same weights, the same values; and going on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from caffe_nets import BODY
from joint_world import World, make_world
from processes import caffe_train
from train_job import (
    assert_same_values,
    debris,
    displayed,
    snapshots,
    table,
    train,
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
