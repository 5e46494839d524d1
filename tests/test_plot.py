"""``sjft plot``: logs of every kind read to the values that they display; the pictures."""

from __future__ import annotations

import csv
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import run_sjft
from joint_world import make_world
from processes import caffe_train
from sjft_tools.cli import main
from sjft_tools.curves.drawing import quantities, smoothed
from sjft_tools.curves.reading import default_names, read_run
from sjft_tools.curves.run import TEST, TRAIN, Key, Run, is_accuracy
from train_job import write_job

BVLC = "I1125 19:39:0{}.123456 10390 solver.cpp:239] "
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


def block(front: str, iteration: int, loss: float, accuracy: float | None = None) -> str:
    """What Caffe displays at an iteration, with a test if there is an accuracy."""
    lines = []
    if accuracy is not None:
        lines += [
            f"Iteration {iteration}, Testing net (#0)",
            f"    Test net output #0: accuracy = {accuracy}",
            f"    Test net output #1: target_loss = {loss + 1} (* 1 = {loss + 1} loss)",
        ]
    lines += [
        f"Iteration {iteration} (9.1 iter/s, 2s/20 iters), loss = {loss}",
        f"    Train net output #0: loss = {loss + 9} (* 1 = {loss + 9} loss)",
        f"    Train net output #1: target_loss = {loss / 2}",
        f"Iteration {iteration}, lr = 0.01",
    ]
    return "".join(f"{front.format(i % 10)}{line}\n" for i, line in enumerate(lines))


def write_log(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


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


# ---- what is drawn


@pytest.mark.filterwarnings("error")
def test_a_rate_that_ends_at_zero(tmp_path):
    """As by lr_policy poly; no logarithm shows it."""
    text = "iteration,seconds,lr,loss\n0,0.1,0.1,4\n2,0.2,0.05,3\n4,0.3,0,2\n"
    rates = []
    for name, rows in (("some", text), ("none", text.replace("0.1,4", "0,4").replace("0.05", "0"))):
        out = tmp_path / f"{name}.svg"
        main(["plot", str(write_log(tmp_path / "x.csv", rows)), "--only", "lr", "--out", str(out)])
        rates.append(out.read_text())
    assert all("<svg" in rate and "mathdefault{10" not in rate for rate in rates)


def two_logs(folder: Path) -> list[str]:
    for number, name in enumerate(("alone", "joint")):
        text = "".join(
            block(BVLC, i, 4.0 / (1 + i / 100) + number, 0.3 + 0.1 * number + i / 5000)
            for i in range(0, 2000, 20)
        )
        write_log(folder / f"{name}_train.log", text)
    return [str(folder / "alone_train.log"), f"Joint $x$={folder / 'joint_train.log'}"]


def test_curves_of_two_runs(tmp_path):
    """The curves stand in the SVG: per run a dashed and a solid one in its colour."""
    outs = [str(tmp_path / f"curves.{ending}") for ending in ("svg", "png", "csv")]
    main(["plot", *two_logs(tmp_path), "--smooth", "1", "--out", *outs])
    tree = ElementTree.parse(outs[0])
    space = "{http://www.w3.org/2000/svg}"
    panels = [g for g in tree.iter(f"{space}g") if g.get("id", "").startswith("axes_")]
    texts = ["".join(t.itertext()) for t in tree.iter(f"{space}text")]
    for words in ("accuracy: error", "target_loss", "loss", "training", "validation", "alone"):
        assert words in texts
    assert "Joint $x$" in texts and "error (%)" in texts and "lr" not in texts
    expected = [(0, 2), (2, 2), (2, 0)]  # dashed and solid: accuracy, target_loss, loss
    assert len(panels) == len(expected)
    for panel, (dashed, solid) in zip(panels, expected):
        styles = [path.get("style", "").replace(" ", "") for path in panel.iter(f"{space}path")]
        curves = [s for s in styles if re.search(r"stroke:#(1f77b4|ff7f0e)", s)]
        assert sum("dasharray" in s for s in curves) == dashed
        assert sum("dasharray" not in s for s in curves) == solid
        for colour in ("#1f77b4", "#ff7f0e"):
            assert sum(f"stroke:{colour}" in s for s in curves) == (dashed + solid) / 2
    picture = cv2.imread(outs[1])
    assert picture is not None and (picture < 128).any(axis=2).sum() > 2000
    with open(outs[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"alone", "Joint $x$"}
    accuracy = [r for r in rows if r["quantity"] == "accuracy" and r["run"] == "alone"]
    assert [int(row["iteration"]) for row in accuracy] == list(range(0, 2000, 20))
    assert float(accuracy[50]["value"]) == 0.3 + 1000 / 5000
    assert {row["phase"] for row in accuracy} == {"test"}


def test_equal_logs_make_equal_files(tmp_path):
    logs = two_logs(tmp_path)
    for name in "ab":
        main(["plot", *logs, "--out", *(str(tmp_path / f"{name}.{e}") for e in ("svg", "png"))])
    for ending in ("svg", "png"):
        first, second = (tmp_path / f"{name}.{ending}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_chosen_quantities_and_smoothing(tmp_path, capsys):
    logs = two_logs(tmp_path)
    out = str(tmp_path / "x.svg")
    main(["plot", *logs, "--only", "lr", "loss", "--smooth", "1", "--out", out])
    assert "drew lr, loss of alone, Joint $x$" in capsys.readouterr().out
    main(["plot", *logs, "--smooth", "40", "--out", out, "--force"])
    assert "drew accuracy, target_loss, loss of alone" in capsys.readouterr().out


def test_parts_with_commas_are_one_run(tmp_path, capsys):
    for name, start in (("1", 0), ("2", 40)):
        text = "".join(block(BVLC, i, 1.0, 0.5) for i in range(start, start + 80, 20))
        write_log(tmp_path / f"{name}.log", text)
    parts = f"{tmp_path / '1.log'},{tmp_path / '2.log'}"
    main(["plot", parts, f"again={parts}", "--out", str(tmp_path / "x.csv")])
    with open(tmp_path / "x.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "loss"]
    for name in ("1", "again"):
        found = [int(row["iteration"]) for row in rows if row["run"] == name]
        assert found == list(range(0, 120, 20))


# ---- pure functions


def test_smoothing_against_a_loop():
    rng = np.random.default_rng(1)
    for n, window in ((1, 5), (7, 1), (7, 2), (50, 5), (50, 49), (10, 99)):
        x = rng.random(n)
        half = min(window, n) // 2
        expected = [x[max(0, i - half) : i + half + 1].mean() for i in range(n)]
        np.testing.assert_allclose(smoothed(x, window), expected, rtol=1e-12)


def test_what_is_an_accuracy():
    shares, losses = np.array([0.0, 0.5, 1.0]), np.array([0.2, 3.0])
    for name in ("accuracy", "accuracy_top5", "acc", "loss3/top-1", "top_5", "Accuracy@1", "top1"):
        assert is_accuracy(name, shares) and not is_accuracy(name, losses)
    for name in ("loss", "target_loss", "accumulated", "stop1x", "space", "top10"):
        assert not is_accuracy(name, shares)


def test_errors_come_first_and_the_rate_last():
    run = Run("x")
    for name in ("lr", "loss", "accuracy", "source_loss"):
        run.add(Key(TEST, 0, name), 0, 0.5)
    assert quantities([run]) == ["accuracy", "loss", "source_loss", "lr"]


def test_names_after_files():
    files = ["a/joint_train.log", "x.csv", "caffe.INFO", ".log", "b.txt"]
    assert default_names(files) == ["joint", "x", "caffe.INFO", ".log", "b"]
    rounds = [f"run/round_{number}/x_train.csv" for number in (1, 2)]
    assert default_names(rounds) == ["round_1/x", "round_2/x"]
    deeper = [f"run/round_{number}/snapshots/x_train.csv" for number in (1, 2)]
    assert default_names(deeper) == ["round_1/snapshots/x", "round_2/snapshots/x"]
    assert default_names(["x.log", "x.log"]) == ["x", "x"] and default_names([]) == []


# ---- what is refused


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["plot", *map(str, arguments)])
    assert ended.value.code == 2
    return capsys.readouterr().err.split("error: ")[1]


def test_bad_input(tmp_path, capsys):
    log = write_log(tmp_path / "x.log", block(BVLC, 0, 1.0, 0.5))
    (tmp_path / "other").mkdir()
    same = write_log(tmp_path / "other" / "x.log", block(BVLC, 0, 1.0))
    nothing = write_log(tmp_path / "nothing.log", "I1125 19:39:00.123456 1 caffe.cpp:1] Done.\n")
    spoilt = write_log(tmp_path / "nan.log", block(BVLC, 0, float("nan")).replace("0.01", "nan"))
    (tmp_path / "binary.log").write_bytes(os.urandom(5000) + b"\n")
    table = write_log(tmp_path / "x.csv", "iteration,seconds,lr,loss\n0,1,0.1,2\n")
    out = ("--out", tmp_path / "out.png")
    cases = [
        ((tmp_path / "no.log", *out), "no.log cannot be read: No such file"),
        ((tmp_path, *out), "cannot be read: Is a directory"),
        ((nothing, *out), "nothing.log holds no values: expected a log of 'caffe train'"),
        ((tmp_path / "binary.log", *out), "binary.log holds no values"),
        ((spoilt, *out), "no quantity with a finite value is left to be drawn"),
        ((log, f"x={same}", *out), "two runs are called 'x': give them names, as in first="),
        ((f"{log},", *out), "names no log between its commas"),
        ((log, "--only", "los", *out), "has the quantity 'los' of --only; did you mean 'loss'?"),
        ((log, "--out", tmp_path / "out.pdf"), "must end in .png, .svg, .csv"),
        ((log, *out, tmp_path / "out.png"), "--out names a file twice"),
        ((log, "--out", nothing), "exists: give --force to replace it"),
        (
            (table, "--out", tmp_path / "other" / ".." / "x.csv", "--force"),
            "x.csv, a log that is read: expected another name",
        ),
    ]
    for arguments, message in cases:
        assert message in refused(capsys, *arguments)
    assert not (tmp_path / "out.png").exists()
