"""``sjft train``: the files of snapshots, and the lock on where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format

import caffe
from sjft.errors import InputError
from sjft_tools.pycaffe import caffe_messages
from sjft_tools.training import workplace as workplaces
from sjft_tools.training.histories import solver_class
from sjft_tools.training.snapshot_files import (
    IncompleteError,
    copy_state,
    read_model,
    read_state,
)
from sjft_tools.training.snapshots import Shape, snapshot_files
from sjft_tools.training.workplace import workplace
from train_job import messages


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


@pytest.mark.parametrize("field", ["type", "solver_type"])
@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_the_class_that_caffe_makes_of_a_solver(tmp_path: Path, field: str, kind: str) -> None:
    text = """net_param { layer { name: "x" type: "Input" top: "x" } }
        base_lr: 1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU """
    text += f'type: "{kind}"' if field == "type" else f"solver_type: {kind.upper()}"
    (tmp_path / "solver.prototxt").write_text(text)
    solver = text_format.Parse(text, caffe_messages().SolverParameter())
    made = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    assert solver_class(solver) == type(made).__name__


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
