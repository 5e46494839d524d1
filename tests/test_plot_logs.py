"""``sjft plot``: logs of every kind read to the values that they display."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_logs import BVLC, block, write_log
from conftest import run_sjft
from joint_world import make_world
from processes import caffe_train
from sjft_tools.curves.reading import default_names, read_run
from sjft_tools.curves.run import TRAIN, Key, Run
from train_job import write_job

YEAR = "I20261125 19:39:0{}.123456 10390 solver.cpp:239] "
NVIDIA = "I0802 19:39:0{}.123456    92 solver.cpp:352] [0.0] "
MPI = "[1,0]<stderr>:I1125 19:39:0{}.123456 10390 solver.cpp:239] "
DOCKER = "2026-11-25T19:39:00.123456789Z I1125 19:39:0{}.123456 10390 solver.cpp:239] "
COLOUR = "\x1b[32mI1125 19:39:0{}.123456 10390 solver.cpp:239] "


def values(run: Run) -> dict[str, dict[int, float]]:
    return {
        f"{key.phase}{key.net or ''} {key.quantity}": dict(
            zip(series.iterations.tolist(), series.values.tolist())
        )
        for key, series in run.series().items()
    }


def read(*paths: Path) -> dict[str, dict[int, float]]:
    return values(read_run("run", [str(path) for path in paths]))


@pytest.mark.parametrize("front", [BVLC, YEAR, NVIDIA, MPI, DOCKER, COLOUR])
def test_logs_of_every_kind(tmp_path, front):
    text = "Log file created at: 2026/11/25 19:39:00\n" + block(front, 0, 4.0, 0.125)
    text += "Restarting data prefetching from start.\n" + block(front, 20, 2.0)
    assert read(write_log(tmp_path / "x.log", text)) == {
        "test accuracy": {0: 0.125},
        "test target_loss": {0: 5.0},
        "train loss": {0: 4.0, 20: 2.0},
        "train target_loss": {0: 2.0, 20: 1.0},
        "train lr": {0: 0.01, 20: 0.01},
    }


def test_of_several_processes_the_first_one_counts(tmp_path):
    ranks = [MPI, MPI.replace("[1,0]", "[1,1]")]
    text = "".join(
        block(rank, 20 * i, 4.0 - i + 0.5 * number, 0.25)
        for i in range(3)
        for number, rank in enumerate(ranks)
    )
    found = read(write_log(tmp_path / "ranks.log", text))
    assert found["train loss"] == {0: 4.0, 20: 3.0, 40: 2.0}
    devices = [NVIDIA, NVIDIA.replace("[0.0]", "[0.1]")]
    text = "".join(block(d, 7, 1.0 + i, 0.25) for i, d in enumerate(devices))
    assert read(write_log(tmp_path / "devices.log", text))["train loss"] == {7: 1.0}


def test_resumed_runs_are_joined(tmp_path):
    """The first part went on beyond its last snapshot, at 40."""
    first = "".join(block(BVLC, i, 10.0 - i / 20, 0.5) for i in range(0, 80, 20))
    second = "".join(block(YEAR, i, 3.0 - i / 40, 0.75) for i in range(40, 120, 20))
    expected = {0: 10.0, 20: 9.0, 40: 2.0, 60: 1.5, 80: 1.0, 100: 0.5}
    parts = [write_log(tmp_path / "1.log", first), write_log(tmp_path / "2.log", second)]
    found = read(*parts)
    assert found["train loss"] == expected
    assert found["test accuracy"] == dict(zip(expected, [0.5, 0.5, 0.75, 0.75, 0.75, 0.75]))
    appended = write_log(tmp_path / "both.log", first + second)
    assert read(appended) == found
    anew = read(write_log(tmp_path / "anew.log", second + block(BVLC, 0, 7.0)))
    assert anew["train loss"] == {0: 7.0} and "test accuracy" not in anew


def test_a_log_that_was_cut(tmp_path):
    whole = block(BVLC, 0, 4.0, 0.5) + block(BVLC, 20, 2.0, 0.75)
    cut = whole[: whole.index(", loss = 2.0") + len(", loss = 2")]
    found = read(write_log(tmp_path / "cut.log", cut))
    assert found["train loss"] == {0: 4.0}
    assert found["test accuracy"] == {0: 0.5, 20: 0.75}
    middle = whole.replace(", loss = 4.0\n", ", loss = \n")
    assert read(write_log(tmp_path / "middle.log", middle))["train loss"] == {20: 2.0}


def test_values_that_are_not_finite(tmp_path):
    texts = [block(BVLC, 20 * i, loss) for i, loss in enumerate([1.0, float("nan"), 3.0])]
    run = read_run("run", [str(write_log(tmp_path / "x.log", "".join(texts)))])
    assert values(run)["train loss"] == {0: 1.0, 40: 3.0}
    assert run.not_finite == {Key(TRAIN, 0, "loss"): 20, Key(TRAIN, 0, "target_loss"): 20}
    printed = run_sjft("plot", tmp_path / "x.log", "--out", tmp_path / "x.png")
    assert "x: train loss is not finite at iteration 20; such values are left out" in printed


def test_outputs_of_several_numbers_and_several_test_nets(tmp_path):
    lines = [
        "Iteration 5, Testing net (#0)",
        "    Test net output #0: per_class = 0.5",
        "    Test net output #1: per_class = 0.25",
        "    Test net output #2: acc = 0.75",
        "Iteration 5, Testing net (#1)",
        "Test loss: 3",
        "    Test net output #0: acc = 0.5",
    ]
    path = write_log(tmp_path / "x.log", "".join(f"{BVLC.format(0)}{line}\n" for line in lines))
    found = read(path)
    assert found == {
        "test per_class[0]": {5: 0.5},
        "test per_class[1]": {5: 0.25},
        "test acc": {5: 0.75},
        "test1 loss": {5: 3.0},
        "test1 acc": {5: 0.5},
    }
    printed = run_sjft("plot", path, "--out", tmp_path / "x.png")
    assert "left out outputs of several numbers: per_class; --only names them one by" in printed
    assert "drew acc, loss of x" in printed
    run_sjft("plot", path, "--only", "per_class[1]", "--out", tmp_path / "one.png")


def test_the_csv_of_a_run_equals_its_log(tmp_path):
    """A real run of sjft train; and caffe train's log of the same job."""
    job = write_job(tmp_path / "job", make_world(tmp_path), max_iter=12)
    run_sjft("train", "solver.prototxt", cwd=job)
    by_log, by_csv = (read(job / f"x_train.{ending}") for ending in ("log", "csv"))
    assert by_log == by_csv
    assert set(by_csv["train loss"]) == set(range(0, 13, 2))
    assert {"train target_loss", "train source_loss", "test loss"} <= by_csv.keys()
    assert read(write_log(tmp_path / "caffe.log", caffe_train(job))) == by_log


def test_spoilt_rows_of_a_csv(tmp_path):
    header = "iteration,seconds,lr,loss,train_loss,test_accuracy,test_total_loss\n"
    rows = "0,0.1,0.1,4,4,0.5,3\n2,0.2,,3,3,,\nx,0.3,,3\n4,0.4,,y,,,\n"
    rows += "6,0.5,0.1,2,2,0.75,2\n8,0.6,0.1,1"
    found = read(write_log(tmp_path / "x.csv", header + rows))
    assert found == {
        "train lr": {0: 0.1, 6: 0.1},
        "train loss": {0: 4.0, 2: 3.0, 6: 2.0},
        "test accuracy": {0: 0.5, 6: 0.75},
        "test loss": {0: 3.0, 6: 2.0},
    }


def test_a_csv_that_a_spreadsheet_saved(tmp_path):
    text = "\ufeffiteration,seconds,lr,loss\r\n0,0.1,0.1,4\r\n2,0.2,0.1,3\r\n"
    assert read(write_log(tmp_path / "x.csv", text))["train loss"] == {0: 4.0, 2: 3.0}


def test_names_after_files():
    files = ["a/joint_train.log", "x.csv", "caffe.INFO", ".log", "b.txt"]
    assert default_names(files) == ["joint", "x", "caffe.INFO", ".log", "b"]
    rounds = [f"run/round_{number}/x_train.csv" for number in (1, 2)]
    assert default_names(rounds) == ["round_1/x", "round_2/x"]
    deeper = [f"run/round_{number}/snapshots/x_train.csv" for number in (1, 2)]
    assert default_names(deeper) == ["round_1/snapshots/x", "round_2/snapshots/x"]
    assert default_names(["x.log", "x.log"]) == ["x", "x"] and default_names([]) == []
