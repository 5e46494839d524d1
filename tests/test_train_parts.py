"""The parts of ``sjft train``, one by one: log, CSV, files of snapshots, lock, what is refused."""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format

from sjft.errors import InputError
from sjft_tools.commands.train import add_arguments
from sjft_tools.training import workplace as workplaces
from sjft_tools.training.caffe_log import Event, LogReader, parse_line
from sjft_tools.training.patient_file import PatientFile
from sjft_tools.training.plan import Plan, make_plan, snapshot_prefix, working_solver
from sjft_tools.training.snapshot_files import (
    IncompleteError,
    copy_state,
    read_model,
    read_state,
)
from sjft_tools.training.snapshots import Shape, snapshot_files
from sjft_tools.training.table import NetOutputs, Table, column_names
from sjft_tools.training.workplace import workplace

OLD, NEW = "I1125 19:39:00.123456 10390 solver.cpp:239] ", "I20261125 19:39:00.123456 1 s.cpp:2] "

# Caffe's log.


@pytest.mark.parametrize(
    "text, event",
    [
        ("Iteration 0, loss = 2.3", Event("loss", "2.3", 0)),
        ("Iteration 20 (12.5 iter/s, 1.6s/20 iters), loss = 0.25", Event("loss", "0.25", 20)),
        ("Iteration 20 (12.5 iter/s, 1.6s/20 iter), loss = 0.25", Event("loss", "0.25", 20)),
        ("Iteration 9 (1 iter/s, 9s/9 iter), 1.3/2.5ep, loss = 3", Event("loss", "3", 9)),
        ("Iteration 220, loss = nan", Event("loss", "nan", 220)),
        ("Iteration 2, loss = -1e-07", Event("loss", "-1e-07", 2)),
        ("Iteration 0 (-6.7e-37 iter/s, 0s/2 iters), loss = 1", Event("loss", "1", 0)),
        ("Iteration 30, lr = 7.8125e-07", Event("lr", "7.8125e-07", 30)),
        ("Iteration 30, lr = 0.01, m = 0.9, wd = 0.0005, gs = 1", Event("lr", "0.01", 30)),
        ("Iteration 500, Testing net (#1)", Event("testing", "", 500, 1)),
        (
            "    Train net output #2: loss3/top-1 = 0.5",
            Event("train", "0.5", None, None, 2, "loss3/top-1"),
        ),
        (
            "    Train net output #0: loss = 0.997 (* 0.3 = 0.2991 loss)",
            Event("train", "0.997", None, None, 0, "loss"),
        ),
        ("    Test net output #1: a = b = 7", Event("test", "7", None, None, 1, "a = b")),
        ("Test loss: 0.641374", Event("test_loss", "0.641374")),
        ("Test score #1: 15.3443", Event("test", "15.3443", None, None, 1, "score1")),
        ("Snapshotting to binary proto file x_iter_5.caffemodel", None),
        ("Ignoring source layer fc8", None),
        ("Optimization Done.", None),
    ],
)
@pytest.mark.parametrize("prefix", [OLD, NEW, f"{NEW}[0] ", f"{OLD}[0.1] "])
def test_lines_of_the_log(prefix: str, text: str, event: Event | None) -> None:
    assert parse_line(prefix + text) == event
    assert parse_line(f"{prefix}{text}\n") == event


@pytest.mark.parametrize("line", ["", "sjft: Iteration 0, loss = 2.3", "Iteration 0, loss = 2.3"])
def test_lines_that_are_not_of_the_log(line: str) -> None:
    assert parse_line(line) is None


def test_lines_without_an_iteration_belong_to_the_last_that_has_one() -> None:
    log = [
        "Test loss: 9",  # the log's start is missing
        "Iteration 10, Testing net (#0)",
        "Test net output #0: acc = 0.5",
        "Iteration 10, Testing net (#1)",
        "Test loss: 3",
        "Test net output #0: acc = 0.25",
        "Iteration 10, loss = 1",
        "Train net output #0: loss = 2",
        "Iteration 10, lr = 0.1",
        "Iteration 11, Testing net (#0)",
        "Test net output #0: acc = 0.75",
        "Train net output #1: other = 4",
    ]
    reader = LogReader()
    events = [reader.read(NEW + line) for line in log]
    assert [event for event in events if event is not None] == [
        Event("test", "0.5", 10, 0, 0, "acc"),
        Event("test_loss", "3", 10, 1),
        Event("test", "0.25", 10, 1, 0, "acc"),
        Event("loss", "1", 10, 0),
        Event("train", "2", 10, 0, 0, "loss"),
        Event("lr", "0.1", 10, 0),
        Event("test", "0.75", 11, 0, 0, "acc"),
        Event("train", "4", 10, 0, 1, "other"),
    ]


# The CSV.

OUTPUTS = NetOutputs([("loss", 1)], [[("acc", 1), ("per_class", 2)]])


def write_rows(path: Path, iterations: range, start: int = 0, **names: bool) -> None:
    table = Table(str(path), column_names(OUTPUTS, names.get("test_loss", False)), start)
    for i in iterations:
        if i % 2 == 0:
            table.add(Event("test", f"0.{i}", i, 0, 2), i)
        table.add(Event("loss", f"{i}.5", i, 0), i)
        table.add(Event("train", f"{i}", i, 0, 0), i)
        table.add(Event("train", "7", i, 0, 1), i)  # an output that the net did not announce
        table.add(Event("lr", "0.1", i, 0), i)
    table.flush()
    table.file.close()


def test_columns_of_several_nets() -> None:
    outputs = NetOutputs([("loss", 1), ("v", 2)], [[("total_loss", 1)], []])
    assert column_names(outputs, with_test_loss=True) == {
        ("train", 0, 0): "train_loss",
        ("train", 0, 1): "train_v[0]",
        ("train", 0, 2): "train_v[1]",
        ("test", 0, 0): "test0_total_loss",
        ("test_loss", 0, 0): "test0_total_loss_",
        ("test_loss", 1, 0): "test1_total_loss",
    }


def test_one_row_per_iteration(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, range(3))
    assert path.read_text().splitlines() == [
        "iteration,seconds,lr,loss,train_loss,test_acc,test_per_class[0],test_per_class[1]",
        "0,0.00,0.1,0.5,0,,,0.0",
        "1,1.00,0.1,1.5,1,,,",
        "2,2.00,0.1,2.5,2,,,0.2",
    ]


def test_rows_appear_when_their_iteration_is_done(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    table = Table(str(path), column_names(OUTPUTS, False), 0)
    table.add(Event("test", "0.5", 4, 0, 0), 1.0)
    table.flush_before(4)
    assert path.read_text().count("\n") == 1
    table.flush_before(5)
    assert path.read_text().endswith("\n4,1.00,,,,0.5,,\n")
    table.file.close()


def test_a_resumed_run_reads_as_one(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight.csv", tmp_path / "resumed.csv"
    write_rows(straight, range(8))
    write_rows(resumed, range(6))
    with resumed.open("a") as file:
        file.write("6,6.00,0.1,6.")  # torn
    write_rows(resumed, range(4, 8), start=4)
    ours, theirs = resumed.read_text().splitlines(), straight.read_text().splitlines()
    assert [line.split(",")[0] for line in ours[1:]] == list("01234567")
    assert [line.split(",")[2:] for line in ours] == [line.split(",")[2:] for line in theirs]
    assert ours[5].split(",")[1] == "7.00"  # 3 s before the snapshot, 4 s after


def test_a_resumed_run_with_other_outputs(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, range(2))
    write_rows(path, range(1, 3), start=1, test_loss=True)
    assert path.read_text().splitlines() == [
        "iteration,seconds,lr,loss,train_loss,test_acc,test_per_class[0],test_per_class[1],"
        "test_total_loss",
        "0,0.00,0.1,0.5,0,,,0.0,",
        "1,1.00,0.1,1.5,1,,,,",
        "2,2.00,0.1,2.5,2,,,0.2,",
    ]


def test_another_csv_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("name,price\napple,3\n")
    with pytest.raises(InputError, match=r"x\.csv is not the CSV of a training run: expected col"):
        Table(str(path), {}, 1)
    assert path.read_text() == "name,price\napple,3\n"


def test_what_a_full_disk_refuses_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = PatientFile(str(path), append=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        file.write(b"0123456")
        assert file.trouble is None
        file.write(b"7890\n")
        assert file.trouble == "File too large"
        file.write(b"next\n")
        assert path.read_bytes() == b"0123456789"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close()
    assert file.trouble is None
    assert path.read_bytes() == b"01234567890\nnext\n"


# The files of snapshots.


def messages() -> tuple[bytes, bytes]:
    """A small .caffemodel and a .solverstate."""
    from caffe.proto import caffe_pb2

    model, state = caffe_pb2.NetParameter(name="net"), caffe_pb2.SolverState()
    for name, sizes in (("data", ()), ("conv", (30, 4)), ("loss", ())):
        layer = model.layer.add(name=name, type="T")
        for size in sizes:
            layer.blobs.add(data=[0.5] * size).shape.dim.append(size)
    state.iter, state.learned_net, state.current_step = 300, "folder/x_iter_300.caffemodel", 0
    for size in (30, 4):
        state.history.add(data=[0.25] * size)
    return model.SerializeToString(), state.SerializeToString()


def test_what_files_of_snapshots_hold(tmp_path: Path) -> None:
    model, state = tmp_path / "m", tmp_path / "s"
    model.write_bytes(messages()[0])
    state.write_bytes(messages()[1])
    assert read_model(str(model)).layers == [("data", ()), ("conv", (30, 4)), ("loss", ())]
    assert read_state(str(state)) == (300, "folder/x_iter_300.caffemodel", (30, 4))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole_model, whole_state = messages()
    path = tmp_path / "file"
    for size in range(len(whole_state)):
        path.write_bytes(whole_state[:size])
        with pytest.raises(IncompleteError):
            read_state(str(path))
    complete = 0
    for size in range(len(whole_model)):
        path.write_bytes(whole_model[:size])
        try:
            layers = read_model(str(path)).layers
        except IncompleteError:
            continue
        complete += 1  # between two layers
        assert len(layers) < 3
    assert complete == 2


def test_foreign_bytes_are_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"\x89HDF\r\n\x1a\n" * 9, b"\0" * 99, b"net: 'x'\n", os.urandom(5000)):
        path.write_bytes(content)
        for read in (read_model, read_state):
            with pytest.raises(IncompleteError):
                read(str(path))


def test_weights_in_the_formats_of_before_2015(tmp_path: Path) -> None:
    from caffe.proto import caffe_pb2

    path = tmp_path / "old.caffemodel"
    model = caffe_pb2.NetParameter()
    model.layers.add(name="v1").blobs.add(data=[1.0] * 7, num=7)
    model.layers.add().layer.name = "v0"
    model.layers[1].layer.blobs.add(data=[1.0] * 3)
    path.write_bytes(model.SerializeToString())
    assert read_model(str(path)).layers == [("v1", (7,)), ("v0", (3,))]


@pytest.mark.parametrize(
    "name",
    ["x_iter_300.caffemodel", "a" * 5000, "folder/x_iter_300.caffemodel"],
    ids=["shorter", "longer", "same"],
)
def test_a_state_is_copied_with_another_name_of_its_model(tmp_path: Path, name: str) -> None:
    from caffe.proto import caffe_pb2

    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(messages()[1])
    copy_state(str(source), str(target), name)
    expected, copied = caffe_pb2.SolverState(), caffe_pb2.SolverState()
    expected.ParseFromString(source.read_bytes())
    copied.ParseFromString(target.read_bytes())
    expected.learned_net = name
    assert copied == expected
    assert target.read_bytes() == expected.SerializeToString()


def test_histories_of_solvers() -> None:
    layers = [("fc", (6, 2))]
    assert Shape(layers, (6, 2), 1).is_history((6, 2))
    assert not Shape(layers, (6, 2), 1).is_history((6, 2, 6, 2))
    assert Shape(layers, (6, 2), 2).is_history((6, 2, 6, 2))
    assert Shape(layers, (6, 2), None).is_history((6, 2, 6, 2))
    assert not Shape(layers, (6, 2), None).is_history((6, 2, 6))


def test_snapshots_are_found_by_their_names(tmp_path: Path) -> None:
    names = [
        "x_iter_5.caffemodel",
        "x_iter_40.solverstate",
        "x_iter_40.caffemodel",
        "x_iter_300.solverstate.h5",
    ]
    others = ["xx_iter_5.caffemodel", "x_iter_5.solverstate.tmp", "x_iter_.caffemodel", "x.log"]
    for name in names + others:
        (tmp_path / name).touch()
    found = snapshot_files(str(tmp_path / "x"))
    assert [(Path(file.path).name, file.is_state) for file in found] == [
        ("x_iter_300.solverstate.h5", False),
        ("x_iter_40.solverstate", True),
        ("x_iter_40.caffemodel", False),
        ("x_iter_5.caffemodel", False),
    ]


# One run at a time.


def test_two_runs_do_not_share_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplaces, "_PATIENCE_S", 0.0)
    prefix = str(tmp_path / "x")
    with workplace(prefix) as place:
        busy = pytest.raises(InputError, match="another run is training with the snapshot_prefix")
        with busy, workplace(prefix):
            pass
        with workplace(f"{prefix}2"):
            pass
        assert os.path.isdir(place.folder)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / ".x.partial"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "snapshot_iter_5.caffemodel").write_text("half")
    with workplace(str(tmp_path / "x")):
        assert os.listdir(folder) == ["lock"]
    assert os.listdir(tmp_path) == []


# What is refused before anything starts.

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
    prefix = "" if "snapshot_prefix" in solver else ' snapshot_prefix: "x"'
    base = SOLVER.replace('net: "net.prototxt"', "") if solver.startswith("net:") else SOLVER
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


def test_the_usage_in_the_docs() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    usage = next(line for line in text.splitlines() if line.startswith("sjft train SOLVER"))
    assert option_groups(usage) == option_groups(" ".join(parser.format_usage().split()))
    assert "with `--weights`" in next(line for line in text.splitlines() if "| `--snap" in line)


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
    command = [sys.executable, "-m", "sjft_tools.cli", "train", "solver.prototxt"]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stderr=writing)
    os.close(writing)
    words = b""
    while b"training" not in words:
        words += os.read(reading, 100)
    os.close(reading)
    assert process.wait(timeout=120) == 0
    assert Path("x_iter_4.caffemodel").exists()
