"""``sjft adapt``: the demo's solver with other data and another schedule, as Caffe reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from conftest import REPO, draw_image, run_sjft, write_image_lmdb
from sjft_tools.pycaffe import import_caffe

import_caffe()
from caffe.proto import caffe_pb2  # noqa: E402


def read(path: Path, message: Any) -> Any:
    return text_format.Parse(path.read_text(), message)


def params(net: Any) -> list[dict[str, Any]]:
    return [
        json.loads(layer.python_param.param_str)
        for layer in net.layer
        if "Data" in layer.python_param.layer
    ]


def adapt(solver: str, folder: Path, *options: object, status: int = 0) -> str:
    return run_sjft("adapt", f"prototxt/demo/{solver}", folder, *options, cwd=REPO, status=status)


def test_data_and_schedule_are_replaced_and_the_rest_is_not(tmp_path: Path) -> None:
    test = write_image_lmdb(tmp_path / "test", [draw_image(i) for i in range(120)], [0] * 120)
    data = ("--target", "t", "--target-test", test, "--source", "s", "--neighbours", "n")
    folder = tmp_path / "run"
    output = adapt(
        *("joint_solver.prototxt", folder, *data, "--levels", "l.json", "--k0", 7, "--seed", 5),
        *("--base-lr", 0.003, "--stepsize", 20, "--max-iter", 30, "--snapshot", 10),
        *("--snapshot-name", "first"),
    )
    assert f"wrote {folder}/solver.prototxt and {folder}/train_val.prototxt" in output
    original = read(REPO / "prototxt/demo/joint_solver.prototxt", caffe_pb2.SolverParameter())
    found = read(folder / "solver.prototxt", caffe_pb2.SolverParameter())
    original.net = f"{folder}/train_val.prototxt"
    original.snapshot_prefix = f"{folder}/snapshots/first"
    original.test_iter[0] = 3  # 120 images in batches of 50
    original.base_lr, original.stepsize, original.max_iter, original.snapshot = 0.003, 20, 30, 10
    original.random_seed = 5
    assert found == original
    assert (folder / "snapshots").is_dir()

    expected = read(REPO / "prototxt/demo/joint_train_val.prototxt", caffe_pb2.NetParameter())
    net = read(folder / "train_val.prototxt", caffe_pb2.NetParameter())
    old_train, old_test = params(expected)
    changed = {"target": "t", "source": "s", "neighbours": "n", "levels": "l.json", "k0": 7}
    assert params(net) == [{**old_train, **changed, "seed": 5}, {**old_test, "target": str(test)}]
    for old, new in zip(expected.layer, net.layer):
        if new.type == "Python":
            new.python_param.param_str = old.python_param.param_str
    assert net == expected


def test_the_train_and_test_layer_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    adapt("target_only_solver.prototxt", tmp_path / "run", "--target", "t")
    net = read(tmp_path / "run" / "train_val.prototxt", caffe_pb2.NetParameter())
    assert [each["target"] for each in params(net)] == ["t", "build/demo/run/target_test_lmdb"]


def test_a_test_layer_that_is_excluded_from_training(tmp_path: Path) -> None:
    solver = read(REPO / "prototxt/demo/target_only_solver.prototxt", caffe_pb2.SolverParameter())
    text = (REPO / solver.net).read_text()
    include = "include { phase: TEST }"
    assert include in text
    (tmp_path / "net.prototxt").write_text(text.replace(include, "exclude { phase: TRAIN }"))
    solver.net = "net.prototxt"
    (tmp_path / "solver.prototxt").write_text(text_format.MessageToString(solver))
    run_sjft("adapt", "solver.prototxt", "run", "--target", "t", cwd=tmp_path)
    net = read(tmp_path / "run" / "train_val.prototxt", caffe_pb2.NetParameter())
    assert [each["target"] for each in params(net)] == ["t", "build/demo/run/target_test_lmdb"]


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        ("none.prototxt", (), "prototxt/demo/none.prototxt cannot be read"),
        ("target_only_solver.prototxt", ("--levels", "l"), "takes 'levels': expected a net with"),
        ("joint_solver.prototxt", ("--target-test", "none"), "the target LMDB none does not exist"),
        ("joint_solver.prototxt", ("--base-lr", "0"), "expected a number > 0, got '0'"),
        ("joint_solver.prototxt", ("--snapshot-name", "a/b"), "expected the name of a file, got"),
        ("joint_train_val.prototxt", (), 'has no field named "name"'),
    ],
)
def test_bad_input(solver: str, options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    output = adapt(solver, tmp_path / "run", *options, status=2)
    assert message in output
    assert not (tmp_path / "run").exists()


def test_the_output_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "file/run"):
        output = adapt("joint_solver.prototxt", tmp_path / name, status=2)
        assert f"the output {tmp_path / 'file'} is a file: expected a folder" in output
    assert (tmp_path / "file").read_text() == "x"


def test_a_solver_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    adapt("joint_solver.prototxt", tmp_path / "run", "--k0", 7)
    before = (tmp_path / "run" / "train_val.prototxt").read_bytes()
    output = adapt("joint_solver.prototxt", tmp_path / "run", "--k0", 8, status=2)
    assert "solver.prototxt exists: give --force" in output
    assert (tmp_path / "run" / "train_val.prototxt").read_bytes() == before
    adapt("joint_solver.prototxt", tmp_path / "run", "--k0", 8, "--force")
    net = read(tmp_path / "run" / "train_val.prototxt", caffe_pb2.NetParameter())
    assert params(net)[0]["k0"] == 8
