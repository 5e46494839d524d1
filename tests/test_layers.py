"""The layers inside Caffe: pycaffe nets, and the command line."""

from __future__ import annotations

import inspect
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe_nets import JOINT_TOPS, close_layers, net, python_layer, write_solver
from joint_world import TARGETS, World, make_world
from processes import (
    caffe_train,
    descendants,
    shared_memory,
    start_caffe_train,
    stays_in_shared_memory,
    survivors,
)
from sjft import layer_params, layers
from sjft.batches import JointBatches
from sjft.errors import InputError
from whole_batches import batch_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def batches(opened: caffe.Net, count: int) -> list[list[bytes]]:
    seen = []
    for _ in range(count):
        opened.forward()
        seen.append([blob.data.tobytes() for blob in opened.blobs.values()])
    close_layers(opened)
    return seen


@pytest.mark.parametrize(
    "settings", [{"workers": 1}, {"workers": 2}, {"workers": 3, "prefetch": 2}]
)
def test_same_batches_for_any_number_of_workers(
    world: World, tmp_path: Path, settings: dict
) -> None:
    def run(**changes: object) -> list[list[bytes]]:
        text = python_layer("JointDataLayer", world.param_str(**changes), JOINT_TOPS)
        return batches(net(tmp_path, text), 12)

    assert run(**settings) == run(workers=0)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"workers": 2}, "give it more 'workers' (now 2), if there are cores for them"),
        ({"workers": 3, "prefetch": 2}, "there is room for batches of 2 of its 3 workers only"),
        (
            {"workers": 2, "batch_size": 10, "prefetch_mb": 1, "resize": 150, "crop": 150},
            "give it a larger 'prefetch' or 'prefetch_mb': there is room for batches of 1 of its 2",
        ),
    ],
)
def test_the_remedy_for_waiting_is_one(
    world: World, tmp_path: Path, settings: dict, remedy: str
) -> None:
    text = python_layer("JointDataLayer", world.param_str(**settings), JOINT_TOPS)
    opened = net(tmp_path, text)
    opened.forward()
    assert remedy in opened.layers[0]._report.sentence(1e-9)
    close_layers(opened)


def test_joint_tops_have_their_shapes_and_contents(world: World, tmp_path: Path) -> None:
    opened = net(tmp_path, python_layer("JointDataLayer", world.param_str(), JOINT_TOPS))
    opened.forward()
    shapes = {name: tuple(blob.shape) for name, blob in opened.blobs.items()}
    assert shapes == dict(zip(JOINT_TOPS, [(8, 3, 32, 32), (4,), (4,), (4,)]))
    indices = opened.blobs["target_index"].data
    assert np.array_equal(opened.blobs["target_label"].data, indices % 5)
    close_layers(opened)


def test_target_layer_in_the_test_phase_repeats_itself(world: World, tmp_path: Path) -> None:
    keys = {"target": world.target, "batch_size": 4, "resize": 36, "crop": 32, "workers": 2}
    text = python_layer("TargetDataLayer", json.dumps(keys), ("data", "label"))
    seen = batches(net(tmp_path, text, caffe.TEST), TARGETS)
    assert seen[: TARGETS // 2] == seen[TARGETS // 2 :]
    assert len({data for data, _ in seen}) == TARGETS // 2


def test_every_key_is_documented() -> None:
    for name in ("joint_data", "target_data", "multi_task_loss"):
        spec = getattr(layer_params, f"{name.upper()}_SPEC")
        layer = getattr(layers, name.title().replace("_", "") + "Layer")
        text = inspect.getdoc(layer)
        assert all(re.search(rf"^ +.*\b{key}\b", text, re.MULTILINE) for key in spec)


def test_the_examples_in_the_docstrings_can_be_pasted() -> None:
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    for layer in (layers.JointDataLayer, layers.TargetDataLayer, layers.MultiTaskLossLayer):
        example = inspect.getdoc(layer).split("Example::")[1]
        parsed = text_format.Parse(example, caffe_pb2.NetParameter()).layer[0]
        assert parsed.python_param.layer == layer.__name__
        param_str = parsed.python_param.param_str
        if layer is layers.JointDataLayer:
            layer_params.parse_joint_data(param_str)
        elif layer is layers.TargetDataLayer:
            layer_params.parse_target_data(param_str, train=False)
        else:
            layer_params.parse_multi_task_loss(param_str)


HUGE = '{"target": "TARGET", "batch_size": 800000, "workers": 0, "prefetch_mb": 1000000000}'


@pytest.mark.parametrize(
    "layer, param_str, tops, bottoms, message",
    [
        ("JointDataLayer", "OK", ("a", "b"), (), "expected the tops data, target_labels, source_l"),
        ("JointDataLayer", "OK", ("a", "b", "c"), ("x",), "expected no bottom, got 1"),
        ("JointDataLayer", "{", ("a", "b", "c"), (), "JointDataLayer: param_str is not valid JSON"),
        ("TargetDataLayer", HUGE, ("a", "b"), (), "more than the 2147483647 that Caffe can count"),
        ("TargetDataLayer", '{"target": "gone"}', ("a", "b"), (), "LMDB gone does not exist"),
        ("MultiTaskLossLayer", "", ("a",), ("x",), "expected pairs of bottoms"),
        ("MultiTaskLossLayer", "", ("a", "b", "c"), ("x", "y"), r"1 top \(the total\) or 2 tops"),
        ("MultiTaskLossLayer", '{"weights": [1, 2]}', ("a",), ("x", "y"), "has 2 numbers, expec"),
    ],
)
def test_bad_set_up_says_why(
    world: World,
    tmp_path: Path,
    layer: str,
    param_str: str,
    tops: tuple,
    bottoms: tuple,
    message: str,
) -> None:
    inputs = "".join(
        f'layer {{ name: "{b}" type: "Input" top: "{b}" input_param {{ shape {{ dim: 2 }} }} }}\n'
        for b in bottoms
    )
    param_str = world.param_str() if param_str == "OK" else param_str
    phase = caffe.TEST if param_str == HUGE else caffe.TRAIN
    param_str = param_str.replace("TARGET", world.target)
    with pytest.raises(InputError, match=f"^{layer}: .*" if layer not in message else message) as e:
        net(tmp_path, inputs + python_layer(layer, param_str, tops, bottoms), phase)
    assert re.search(message, str(e.value))


def test_every_rank_gets_its_own_share(world: World, tmp_path: Path) -> None:
    params = layer_params.parse_joint_data(world.param_str(workers=0))
    shares = JointBatches(params, rank=1, ranks=2)
    try:
        caffe.set_multiprocess(True)  # without it Caffe refuses Python layers in several solvers
        caffe.set_solver_rank(1)
        caffe.set_solver_count(2)
        opened = net(tmp_path, python_layer("JointDataLayer", world.param_str(), JOINT_TOPS))
    finally:
        caffe.set_solver_rank(0)
        caffe.set_solver_count(1)
        caffe.set_multiprocess(False)
    seen = batches(opened, 5)
    for number in range(5):
        out = batch_of(shares, number)
        assert seen[number] == [out[name].tobytes() for name in shares.tops]


def test_joint_layer_refuses_the_test_phase(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="serves the TRAIN phase only"):
        net(tmp_path, python_layer("JointDataLayer", world.param_str(), JOINT_TOPS), caffe.TEST)


# The command line.


def test_caffe_train_runs_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    before = shared_memory()
    write_solver(tmp_path, world, workers=2)
    log = caffe_train(tmp_path)
    losses = re.findall(r"Train net output #0: loss = (\S+)", log)
    assert len(losses) == 20
    assert all(np.isfinite(float(loss)) for loss in losses)
    assert len(re.findall("accuracy = ", log)) == 3
    assert "14 target images, 30 of 40 source images selected, in 4 classes" in log
    assert (tmp_path / "x_iter_20.caffemodel").exists()
    assert not stays_in_shared_memory(before)


def test_caffe_train_ends_in_the_same_weights_for_any_workers(world: World, tmp_path: Path) -> None:
    weights = []
    for workers in (0, 2):
        write_solver(tmp_path, world, workers=workers)
        caffe_train(tmp_path)
        model = (tmp_path / "x_iter_20.caffemodel").read_bytes()
        weights.append(model.replace(b'"workers": 2', b'"workers": 0'))  # it holds the net, too
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    "changes, classes, message",
    [
        ({"corp": 20}, (5, 6), r"JointDataLayer: param_str has the unknown key 'corp'; did you me"),
        ({"source": "gone_lmdb"}, (5, 6), "JointDataLayer: the source LMDB gone_lmdb does not exi"),
        ({"min_source_per_class": 99}, (5, 6), "JointDataLayer: record 0 .* has no neighbour left"),
        ({"prefetch_mb": 1, "crop": 400, "resize": 400}, (5, 6), "one batch takes 4 MiB of memory"),
        ({}, (5, 2), "MultiTaskLossLayer: the label blob of task 2 holds the label [23], expected"),
    ],
)
def test_caffe_train_ends_with_one_clear_sentence(
    world: World, tmp_path: Path, changes: dict, classes: tuple[int, int], message: str
) -> None:
    write_solver(tmp_path, world, classes, **changes)
    log = caffe_train(tmp_path, status=None)
    said = [line for line in log.splitlines() if line.startswith("sjft: error: ")]
    assert len(said) == 1, log
    assert re.search(message, said[0])
    assert not (tmp_path / "x_iter_20.caffemodel").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_caffe_train(world: World, tmp_path: Path, number: int) -> None:
    write_solver(tmp_path, world, workers=2)
    solver = (tmp_path / "solver.prototxt").read_text().replace("max_iter: 20", "max_iter: 1000000")
    (tmp_path / "solver.prototxt").write_text(solver)
    process = start_caffe_train(tmp_path)
    for line in process.stdout:
        if "Iteration 3 " in line:
            break
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    process.communicate(timeout=600)
    assert not survivors(workers)


def test_a_program_that_ends_takes_its_workers_along(world: World, tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(python_layer("JointDataLayer", world.param_str(workers=2), JOINT_TOPS))
    program = (
        "import caffe, os; net = caffe.Net('net.prototxt', caffe.TRAIN); net.forward(); "
        "of = lambda pid: open(f'/proc/{pid}/task/{pid}/children').read().split(); "
        "print(*[pid for child in of(os.getpid()) for pid in [child, *of(child)]])"
    )
    text = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    workers = [int(pid) for pid in text.split()]
    assert len(workers) == 3  # two, and the nursery from which they were forked
    assert not survivors(workers)
