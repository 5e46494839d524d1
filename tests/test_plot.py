"""``sjft plot``: what is drawn, the pictures' curves, and what is refused."""

from __future__ import annotations

import csv
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_logs import BVLC, block, write_log
from conftest import REPO
from sjft_tools.cli import main
from sjft_tools.curves.drawing import quantities, smoothed
from sjft_tools.curves.run import TEST, Key, Run, is_accuracy


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
        outs = [str(tmp_path / f"{name}.{ending}") for ending in ("svg", "png", "pdf")]
        main(["plot", *logs, "--out", *outs])
    for ending in ("svg", "png", "pdf"):
        first, second = (tmp_path / f"{name}.{ending}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_letters_in_a_pdf_are_truetype(tmp_path):
    """Publishers refuse those of Type 3, which matplotlib writes by itself."""
    curves, net = tmp_path / "curves.pdf", tmp_path / "net.pdf"
    main(["plot", *two_logs(tmp_path), "--out", str(curves)])
    view = ["--output", str(tmp_path / "net_view.prototxt"), "--draw", str(net)]
    main(["view", str(REPO / "prototxt/demo/deploy.prototxt"), *view])
    for path in (curves, net):
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert b"/FontFile2" in content and b"/Type3" not in content


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
        ((log, "--out", tmp_path / "out.jpg"), "must end in .png, .svg, .pdf, .csv"),
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
