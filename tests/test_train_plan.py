"""``sjft train``: what is refused before anything starts, and what Caffe is given."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format

from processes import SJFT, read_until
from sjft.errors import InputError
from sjft_tools.commands.train import add_arguments
from sjft_tools.solver_files import snapshot_prefix
from sjft_tools.training.plan import Plan, make_plan, working_solver
from train_job import messages

NET = """
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } }
}
layer {
  name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 2 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 solver_mode: CPU\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a job, the current one."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER + 'snapshot_prefix: "x"')
    return tmp_path


def plan(*words: str) -> Plan:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return make_plan(parser.parse_args(["solver.prototxt", *words]))


def write_snapshot(iteration: int) -> None:
    model, state = messages()
    Path(f"x_iter_{iteration}.caffemodel").write_bytes(model)
    Path(f"x_iter_{iteration}.solverstate").write_bytes(state)


@pytest.mark.parametrize(
    "solver, words, message",
    [
        (
            "",
            ("--weights", "gone.caffemodel"),
            r"the weights gone.caffemodel cannot be read \(No s",
        ),
        ("", ("--weights", "cut,whole"), "the weights cut is cut short, or not a file of Caffe's"),
        ("", ("--weights", "whole, empty"), "the weights empty is empty: expected a complete .caf"),
        ("", ("--weights", "whole,"), "the weights 'whole,' name no file between their commas"),
        ("", ("--snapshot", "model"), "the snapshot model is cut short: expected a complete .so"),
        ("base_lr", (), "solver.prototxt has no base_lr, without which nothing is learned"),
        ("max_iter", (), "solver.prototxt has no max_iter: expected the number of iterations"),
        ("max_iter: -4", (), "solver.prototxt has max_iter: -4, expected at least 1"),
        ("iter_size: 0", (), "solver.prototxt has iter_size: 0, expected at least 1"),
        (
            "test_iter: 0 test_interval: 1",
            (),
            "solver.prototxt has test_iter: 0, expected at least 1",
        ),
        ("", ("--weights", "x.h5"), "the weights x.h5 is not an HDF5 file"),
        (
            "",
            ("--weights", "whole", "--snapshot", "s"),
            "--weights and --snapshot exclude each oth",
        ),
        ("", ("--snapshot", "gone"), r"the snapshot gone cannot be read \(No such file or dir"),
        ("", ("--snapshot", "whole"), "the snapshot whole is cut short: expected a complete .so"),
        ("", ("--snapshot", "s.solverstate.h5"), "is an HDF5 file: use 'caffe train -snapshot'"),
        ("", ("--resume", "--force"), "--resume and --force exclude each other"),
        ("snapshot_format: HDF5", (), "solver.prototxt has snapshot_format: HDF5, of which sjft"),
        ('snapshot_prefix: "gone/x"', (), "the folder gone of snapshot_prefix 'gone/x' does not e"),
        ("bse_lr: 1", (), "line 1, column .*; did you mean 'base_lr'?"),
        ('net: "gone.prototxt"', (), "the net gone.prototxt does not exist: correct the path"),
        ("test_iter: 1", (), "test_iter is given without test_interval: add test_interval"),
    ],
)
def test_refusals(here: Path, solver: str, words: tuple[str, ...], message: str) -> None:
    model, state = messages()
    Path("whole").write_bytes(model)
    Path("s").write_bytes(state)
    Path("cut").write_bytes(model[:-1])
    Path("empty").touch()
    Path("x.h5").write_bytes(model)
    Path("model").write_bytes(b"\x0a\x03net" + model)  # as of a net with a name
    prefix = "" if "snapshot_prefix" in solver else ' snapshot_prefix: "x"'
    base = SOLVER.replace('net: "net.prototxt"', "") if solver.startswith("net:") else SOLVER
    if solver.startswith(("base_lr", "max_iter")):
        base = re.sub(rf"{solver.partition(':')[0]}: \S+", "", base)
        solver = solver if ":" in solver else ""
    Path("solver.prototxt").write_text(f"{solver} {base}{prefix}")
    before = sorted(os.listdir())
    with pytest.raises(InputError, match=message):
        plan(*words)
    assert sorted(os.listdir()) == before


def test_unknown_layer_types_and_missing_solvers(here: Path) -> None:
    Path("net.prototxt").write_text(NET.replace("DummyData", "DumyData"))
    with pytest.raises(InputError, match="of type 'DumyData', which this Caffe does not know; did"):
        plan()
    Path("solver.prototxt").unlink()
    with pytest.raises(InputError, match=r"solver\.prototxt cannot be read: No such file"):
        plan()


def test_snapshots_in_the_way(here: Path) -> None:
    assert plan("--resume").snapshots == []
    write_snapshot(10)
    write_snapshot(300)
    with pytest.raises(InputError) as error:
        plan()
    assert str(error.value) == (
        "there are snapshots of the snapshot_prefix 'x' (x_iter_300.solverstate and 3 more): give "
        "--resume to go on from the newest, --force to remove them, or change snapshot_prefix"
    )
    assert len(plan("--force").superseded) == 4
    resumed = plan("--resume")
    assert resumed.snapshots == ["x_iter_300.solverstate", "x_iter_10.solverstate"]
    assert resumed.superseded == [] and not resumed.must_resume
    chosen = plan("--snapshot", "x_iter_300.solverstate")
    assert chosen.snapshots == ["x_iter_300.solverstate"] and chosen.must_resume
    write_snapshot(301)
    with pytest.raises(InputError, match=r"they are later than x_iter_300\.solverstate"):
        plan("--snapshot", "x_iter_300.solverstate")
    later = plan("--snapshot", "x_iter_300.solverstate", "--force").superseded
    assert later == ["x_iter_301.solverstate", "x_iter_301.caffemodel"]


def option_groups(usage: str) -> list[list[str]]:
    """Return the options in a line of usage, those that exclude each other together."""
    return [re.findall("--[a-z]+", group) for group in re.findall(r"\[(--[^\]]*)", usage)]


def test_the_options_in_the_docs() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    groups = option_groups(" ".join(parser.format_usage().split()))
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    rows = dict(re.findall(r"^\| `(--[a-z]+)[^|]* \| (.*) \|$", text, re.MULTILINE))
    assert sorted(rows) == sorted(option for group in groups for option in group)
    for first, *others in [*groups, ["--snapshot", "--weights"]]:
        for other in others:
            assert f"with `{other}`" in rows[first], f"{first} excludes {other}"


def test_gpus(here: Path) -> None:
    assert plan().gpus == []
    assert plan("--gpu", "3").gpus == [3]
    for words in ("0,0", "-1", "all", ""):
        with pytest.raises(SystemExit):
            plan("--gpu", words)
    solver = SOLVER.replace("solver_mode: CPU", "solver_mode: GPU device_id: 2")
    Path("solver.prototxt").write_text(solver)
    assert plan().gpus == [2]
    assert plan("--gpu", "0").gpus == [0]
    Path("solver.prototxt").write_text(SOLVER.replace("solver_mode: CPU", ""))
    assert plan().gpus == []
    import caffe

    if not caffe.has_nccl():
        with pytest.raises(InputError, match="--gpu names 2 GPUs, but this Caffe was built withou"):
            plan("--gpu", "0,1")


def test_prefixes_as_caffe_completes_them(here: Path) -> None:
    from caffe.proto import caffe_pb2

    Path("folder").mkdir()
    for text, expected in [
        ("", "nets/my.solver"),
        ('snapshot_prefix: "folder"', "folder/my.solver"),
        ('snapshot_prefix: "folder/"', "folder/my.solver"),
        ('snapshot_prefix: "folder/x"', "folder/x"),
    ]:
        solver = text_format.Parse(text, caffe_pb2.SolverParameter())
        assert snapshot_prefix(solver, "nets/my.solver.prototxt") == expected


def test_the_solver_that_caffe_gets(here: Path) -> None:
    text = SOLVER + 'snapshot_prefix: "x" snapshot: 7 weights: "w.caffemodel" momentum: 0.3'
    Path("solver.prototxt").write_text(text)
    Path("w.caffemodel").write_bytes(messages()[0])
    made = plan()
    assert made.weights == ["w.caffemodel"]
    solver = working_solver(made, "y/z")
    assert (solver.snapshot, solver.snapshot_after_train, solver.snapshot_prefix) == (
        0,
        False,
        "y/z",
    )
    assert not solver.weights and solver.momentum == made.solver.momentum
    assert made.solver.snapshot == 7


# The whole.


def test_training_outlives_its_terminal(here: Path) -> None:
    command = [*SJFT, "train", "solver.prototxt"]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stderr=writing)
    os.close(writing)
    with open(reading, "rb") as terminal:
        read_until(terminal, b"training")
    assert process.wait(timeout=600) == 0
    assert Path("x_iter_4.caffemodel").exists()
