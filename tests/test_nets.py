"""The generated nets in the real Caffe: names, shapes, what they compute, and that they train."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import caffe
from conftest import REPO, SHARED, draw_image, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.nets.backbones import BACKBONES
from sjft_tools.nets.demo import TASK, Demo, demo_files
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.preact_resnet import unit_names
from sjft_tools.nets.target_set import TASK as PHOTO_TASK
from sjft_tools.nets.target_set import TargetSet, target_set_files

REFERENCE = SHARED / "reference/param_shapes.json"
PROTOTXT = REPO / "prototxt"


def read_net(path: Path) -> caffe_pb2.NetParameter:
    return text_format.Parse(path.read_text(encoding="utf-8"), caffe_pb2.NetParameter())


def in_phase(net: caffe_pb2.NetParameter, phase: int) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in net.layer if all(rule.phase == phase for rule in layer.include)]


def param_shapes(net: caffe.Net) -> OrderedDict[str, list[list[int]]]:
    return OrderedDict((name, [list(b.data.shape) for b in v]) for name, v in net.params.items())


@pytest.fixture(scope="module")
def joint_resnet152(tmp_path_factory) -> caffe.Net:
    """The joint ResNet-152 in TRAIN, its data layer replaced by an input, without its loss."""
    net = read_net(PROTOTXT / "sjft_train_val.prototxt")
    layers = [layer for layer in in_phase(net, caffe.TRAIN) if layer.type != "Python"]
    stripped = caffe_pb2.NetParameter(layer=layers)
    data = caffe_pb2.LayerParameter(name="data", type="Input", top=["data"])
    data.input_param.shape.add().dim.extend([4, 3, 224, 224])
    stripped.layer.insert(0, data)
    path = tmp_path_factory.mktemp("nets") / "joint.prototxt"
    path.write_text(text_format.MessageToString(stripped))
    return caffe.Net(str(path), caffe.TRAIN)


def test_resnet152_has_the_released_weights_layers(joint_resnet152):
    shapes = param_shapes(joint_resnet152)
    assert len(shapes) == 459
    assert list(shapes)[:4] == ["conv1", "bn_conv1", "scale_conv1", "res2a_branch1"]
    assert list(shapes)[-4:] == ["bn5c", "scale5c", "fc_target", "fc_source"]
    expected = {
        "conv1": [[64, 3, 7, 7]],
        "bn_conv1": [[64], [64], [1]],
        "scale_conv1": [[64], [64]],
        "res2a_branch1": [[256, 64, 1, 1]],
        "res3b7_branch2b": [[128, 128, 3, 3]],
        "bn3b7": [[512], [512], [1]],
        "res4b35_branch2c": [[1024, 256, 1, 1]],
        "scale5c": [[2048], [2048]],
        "fc_target": [[67, 2048], [67]],
        "fc_source": [[1000, 2048], [1000]],
    }
    assert {name: shapes[name] for name in expected} == expected
    assert sum(int(np.prod(shape)) for blobs in shapes.values() for shape in blobs) == 60466306


def test_resnet152_equals_the_reference(joint_resnet152):
    if not REFERENCE.exists():
        pytest.skip("needs ../shared/reference/param_shapes.json")
    reference = json.loads(REFERENCE.read_text())["sjft_resnet152"]
    wanted = [(layer["name"], layer["param_shapes"]) for layer in reference["layers"]]
    assert list(param_shapes(joint_resnet152).items()) == wanted
    types = [layer["type"] for layer in reference["layers"]]
    kinds = dict(zip(joint_resnet152._layer_names, joint_resnet152.layers))
    assert [kinds[name].type for name, _ in wanted] == types
    blobs = {name: list(joint_resnet152.blobs[name].data.shape) for name in reference["blobs"]}
    assert blobs == reference["blobs"]


def test_statistics_are_not_learned_and_normalised_convolutions_have_no_bias():
    for path in sorted(PROTOTXT.rglob("*train_val.prototxt")):
        for layer in read_net(path).layer:
            rates = [(param.lr_mult, param.decay_mult) for param in layer.param]
            if layer.type == "BatchNorm":
                assert rates == [(0, 0)] * 3
                assert not layer.batch_norm_param.HasField("use_global_stats")
            elif layer.type == "Convolution":
                # Where no normalisation stands behind it, whose bias could stand for its own.
                bias = path.parent.name in ("flowers17", "squeezenet", "vgg16")
                bias |= path.parent.name == "resnet50" and layer.name == "conv1"
                assert rates == ([(1, 1), (2, 0)] if bias else [(1, 1)])
                assert layer.convolution_param.bias_term == bias
            elif layer.name in ("fc_target", "fc_source"):
                assert rates == [(1, 1), (2, 0)]
                assert layer.inner_product_param.weight_filler.std == pytest.approx(0.01)


HE = ["resnet50", "resnet101", "resnet152"]


def reference(name: str) -> dict[str, Any]:
    if not REFERENCE.exists():
        pytest.skip("needs ../shared/reference/param_shapes.json")
    return json.loads(REFERENCE.read_text())[name]


@pytest.mark.parametrize("name", HE)
def test_published_resnets_equal_the_reference(name):
    wanted = reference(name)
    net = caffe.Net(str(PROTOTXT / f"nets/{name}/sjft_deploy.prototxt"), caffe.TEST)
    shapes = [(layer["name"], layer["param_shapes"]) for layer in wanted["layers"]]
    assert shapes[-1][0] == "fc1000"
    assert list(param_shapes(net).items())[:-1] == shapes[:-1]
    assert list(param_shapes(net).items())[-1] == ("fc_target", [[67, 2048], [67]])
    kinds = dict(zip(net._layer_names, net.layers))
    for layer in wanted["layers"][:-1]:
        assert kinds[layer["name"]].type == layer["type"]
    blobs = {blob: shape for blob, shape in wanted["blobs"].items() if blob != "fc1000"}
    blobs["prob"] = [1, 67]
    assert {blob: list(net.blobs[blob].data.shape) for blob in blobs} == blobs


def varint(number: int) -> bytes:
    low = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([part | 128 for part in low[:-1]] + low[-1:])


def member(field: int, content: bytes) -> bytes:
    """A field of protobuf's wire format that has a length."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def write_caffemodel(path: Path, layers: list[dict[str, Any]]) -> dict[str, list[np.ndarray]]:
    """A caffemodel with random weights of the layers' names, types and shapes; these weights.

    Written byte by byte: protobuf's Python takes a float at a time.
    """
    fields = caffe_pb2.NetParameter.DESCRIPTOR.fields_by_name
    blobs_field = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name["blobs"].number
    data_field = caffe_pb2.BlobProto.DESCRIPTOR.fields_by_name["data"].number
    rng = np.random.default_rng(0)
    weights: dict[str, list[np.ndarray]] = {}
    with path.open("wb") as file:
        for layer in layers:
            message = caffe_pb2.LayerParameter(name=layer["name"], type=layer["type"])
            text = message.SerializeToString()
            arrays = [rng.random(shape, np.float32) for shape in layer["param_shapes"]]
            for array in arrays:
                blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=array.shape))
                text += member(
                    blobs_field, blob.SerializeToString() + member(data_field, array.tobytes())
                )
            file.write(member(fields["layer"].number, text))
            weights[layer["name"]] = arrays
    return weights


@pytest.mark.parametrize("name", ["sjft_resnet152", *HE])
def test_every_published_weight_is_taken(tmp_path, name):
    """Weights of the reference's names and shapes, through Caffe into the nets that are ours."""
    layers = reference(name)["layers"]
    weights = write_caffemodel(tmp_path / "published.caffemodel", layers)
    own = name == "sjft_resnet152"
    folder = PROTOTXT if own else PROTOTXT / "nets" / name
    path = folder / ("sjft_deploy_both.prototxt" if own else "sjft_deploy_dense.prototxt")
    net = caffe.Net(str(path), caffe.TEST, weights=str(tmp_path / "published.caffemodel"))
    taken = [name for name in net.params if name in weights]
    assert taken == [layer["name"] for layer in layers if own or layer["name"] != "fc1000"]
    for layer in taken:
        for blob, array in zip(net.params[layer], weights[layer]):
            np.testing.assert_array_equal(blob.data, array)
    rest = [name for name in net.params if name not in weights]
    assert rest == ([] if own else ["fc_target", "fc_target_map"])


def randomise(net: caffe.Net) -> None:
    """Draw weights of a size that keeps the signal's; BatchNorm's statistics, too."""
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        if name.startswith("bn"):
            blobs[0].data[...] = rng.normal(0, 0.1, blobs[0].data.shape)
            blobs[1].data[...] = rng.uniform(0.5, 2, blobs[1].data.shape)
            blobs[2].data[...] = 1
        elif blobs[0].data.ndim > 1:
            fan_in = blobs[0].data[0].size
            blobs[0].data[...] = rng.random(blobs[0].data.shape, np.float32)
            blobs[0].data[...] -= 0.5
            blobs[0].data[...] *= (24 / fan_in) ** 0.5


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "squeezenet"])
def test_dense_net_takes_the_weights_and_scores_every_window(tmp_path, name):
    folder = PROTOTXT / "nets" / name
    deploy = caffe.Net(str(folder / "sjft_deploy.prototxt"), caffe.TEST)
    randomise(deploy)
    dense = caffe.Net(str(folder / "sjft_deploy_dense.prototxt"), caffe.TEST)
    if name == "vgg16":  # half a gigabyte, which need not pass through a file
        for layer, blobs in deploy.params.items():
            for blob, taken in zip(blobs, dense.params[layer]):
                taken.data[...] = blob.data
    else:
        deploy.save(str(tmp_path / "trained.caffemodel"))
        dense.copy_from(str(tmp_path / "trained.caffemodel"))
    assert dense.inputs == ["data"] and dense.outputs == ["prob"]
    image = draw_image(3, 288, 256).transpose(2, 0, 1) - np.float32(110)
    deploy.blobs["data"].data[0] = image[:, :224, :224]
    dense.blobs["data"].reshape(1, 3, 224, 224)
    dense.blobs["data"].data[0] = image[:, :224, :224]
    expected, prob = deploy.forward()["prob"], dense.forward()["prob"]
    assert prob.shape == (1, 67, 1, 1)
    np.testing.assert_allclose(prob.reshape(1, 67), expected, rtol=1e-4, atol=1e-7)

    dense.blobs["data"].reshape(1, 3, 288, 256)
    dense.blobs["data"].data[0] = image
    prob = dense.forward()["prob"]
    scores = dense.blobs["fc_target_map"].data[0].astype(np.float64)
    top = {"resnet50": "pool5", "vgg16": "fc7_map", "squeezenet": "pool9"}[name]
    features = dense.blobs[top].data[0]
    assert scores.shape[1:] == features.shape[1:] != (1, 1)
    weights, bias = (blob.data.astype(np.float64) for blob in deploy.params["fc_target"])
    windows = np.einsum("cf,fij->cij", weights, features) + bias[:, None, None]
    np.testing.assert_allclose(scores, windows, rtol=1e-3, atol=1e-3)
    powers = np.exp(scores - scores.max(axis=0))
    mean = (powers / powers.sum(axis=0)).mean(axis=(1, 2))
    np.testing.assert_allclose(prob.ravel(), mean, rtol=1e-3, atol=1e-6)


def test_resnet152_deploy_runs():
    net = caffe.Net(str(PROTOTXT / "sjft_deploy.prototxt"), caffe.TEST)
    assert len(net.params) == 458
    image = draw_image(0, 224, 224).astype(np.float32) - (104, 117, 123)
    net.blobs["data"].data[0] = image.transpose(2, 0, 1)
    prob = net.forward()["prob"]
    assert prob.shape == (1, 67)
    assert prob.sum() == pytest.approx(1, abs=1e-5)


# A literal reading of the method's section 5 in numpy, for a stem of 5x5, stride 2, and a pooling.
def convolve(x: np.ndarray, weights: np.ndarray, stride: int, pad: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    kernel = weights.shape[2]
    side = (x.shape[1] - kernel) // stride + 1
    out = np.zeros((weights.shape[0], side, side))
    for row in range(side):
        for column in range(side):
            top, left = row * stride, column * stride
            patch = x[:, top : top + kernel, left : left + kernel]
            out[:, row, column] = np.tensordot(weights, patch, 3)
    return out


def max_pool(x: np.ndarray) -> np.ndarray:
    """3 x 3, stride 2; the size is rounded up and the last windows are cut off, as Caffe does."""
    side = -(-(x.shape[1] - 3) // 2) + 1
    out = np.zeros((x.shape[0], side, side))
    for row in range(side):
        for column in range(side):
            top, left = 2 * row, 2 * column
            out[:, row, column] = x[:, top : top + 3, left : left + 3].max(axis=(1, 2))
    return out


def literal_forward(net: caffe.Net, image: np.ndarray, units: tuple[int, ...]) -> np.ndarray:
    def weights(name: str, index: int = 0) -> np.ndarray:
        return net.params[name][index].data.astype(np.float64)

    def conv(name: str, x: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
        return convolve(x, weights(name), stride, pad)

    def activate(name: str, x: np.ndarray) -> np.ndarray:
        count = weights(f"bn{name}", 2)[0]
        mean, variance = weights(f"bn{name}") / count, weights(f"bn{name}", 1) / count
        gain = weights(f"scale{name}") / np.sqrt(variance + 1e-5)
        shifted = gain[:, None, None] * (x - mean[:, None, None])
        return np.maximum(shifted + weights(f"scale{name}", 1)[:, None, None], 0)

    x = max_pool(activate("_conv1", conv("conv1", image, stride=2, pad=2)))
    for stage, count in enumerate(units, start=2):
        for number, unit in enumerate(unit_names(count)):
            name, stride = f"{stage}{unit}", 2 if stage > 2 and number == 0 else 1
            if number == 0:
                identity = conv(f"res{name}_branch1", x, stride)
            x = activate(f"{name}_branch2a", conv(f"res{name}_branch2a", x, stride))
            x = activate(f"{name}_branch2b", conv(f"res{name}_branch2b", x, pad=1))
            identity = identity + conv(f"res{name}_branch2c", x)
            x = activate(name, identity)
    pooled = x.mean(axis=(1, 2))
    return weights("fc_target") @ pooled + weights("fc_target", 1)


def test_net_computes_what_the_method_says():
    net = caffe.Net(str(PROTOTXT / "demo/deploy.prototxt"), caffe.TEST)
    rng = np.random.default_rng(0)
    for name, blobs in net.params.items():
        for blob in blobs:
            positive = name.startswith(("bn", "scale")) and blob is not blobs[0]
            low = 0.5 if positive else -0.5
            blob.data[...] = rng.uniform(low, 1, blob.data.shape)
        if name.startswith("bn"):
            blobs[2].data[...] = 2.5
    image = rng.uniform(-1, 1, net.blobs["data"].data.shape[1:])
    net.blobs["data"].data[0] = image
    net.forward()
    scores = literal_forward(net, image, (2, 2, 2))
    np.testing.assert_allclose(net.blobs["fc_target"].data[0], scores, rtol=1e-4)


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory) -> Path:
    """Small data bases and the demo's nets for them, with paths as seen from the folder."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "data").mkdir()
    (folder / "nets").mkdir()
    paths = DataPaths()
    sizes = {paths.target: (60, 10), paths.target_test: (30, 10), paths.source: (90, 8)}
    for seed, (path, (count, classes)) in enumerate(sizes.items()):
        labels = [i % classes for i in range(count)]
        # One drawing per class and data base, brighter or darker.
        images = [draw_image(label, 32, 32) // (1 + i % 2) for i, label in enumerate(labels)]
        write_image_lmdb(folder / path, images, labels, [f"{seed} {c}" for c in range(classes)])
    target, source = (ImageLmdb(str(folder / path)) for path in (paths.target, paths.source))
    indices = np.stack([(np.arange(20) * 7 + i) % source.count for i in range(target.count)])
    distances = np.tile(np.arange(20, dtype=np.float32), (target.count, 1))
    info = {"bank": "gabor", "bins": 100}
    write_neighbours(str(folder / paths.neighbours), target, source, indices, distances, info)
    task = replace(TASK, source_classes=8, k0=20, test_batch_size=10, paths=paths)
    choices = Demo(task, test_images=30, max_iter=20, folder="nets", snapshot_folder="nets")
    for name, text in demo_files(choices).items():
        (folder / "nets" / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory) -> Path:
    """Small data bases of 256 x 256 images, for nets that take 224 x 224."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "data").mkdir()
    paths = DataPaths()
    for seed, path in enumerate((paths.target, paths.target_test, paths.source)):
        images = [draw_image(10 * seed + i, 256, 256) for i in range(4)]
        write_image_lmdb(folder / path, images, [0, 1, 2, 1], ["a", "b", "c"])
    target, source = (ImageLmdb(str(folder / path)) for path in (paths.target, paths.source))
    indices = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    distances = np.zeros((4, 2), np.float32)
    write_neighbours(str(folder / paths.neighbours), target, source, indices, distances, {})
    return folder


STEP = """
import sys, caffe, numpy as np
net = caffe.Net(sys.argv[1], caffe.TRAIN)
for name, blobs in net.params.items():
    if name.startswith("bn"):
        blobs[1].data[...], blobs[2].data[...] = 9, 1
frozen = {n: [b.data.copy() for b in p] for n, p in net.params.items() if n.startswith("bn")}
net.forward()
net.backward()
for name in sys.argv[3:]:
    gradient = net.params[name][0].diff
    assert np.isfinite(gradient).all() and abs(gradient).max() > 0, name
same = all((b.data == a).all() for n in frozen for a, b in zip(frozen[n], net.params[n]))
assert same == (sys.argv[2] == "frozen"), same
"""


@pytest.mark.parametrize(
    ("net", "frozen"),
    [("preact_resnet152", False), ("resnet50", True), ("squeezenet", False), ("vgg16", False)],
)
def test_backbones_train_jointly(photo_folder, net, frozen):
    """Forward and backward of the joint net on two images, and of the baseline on one."""
    task = replace(PHOTO_TASK, target_classes=3, source_classes=3, batch_size=2, k0=2)
    names = {
        kind: f"{net}_{kind}.prototxt" for kind in ("joint_train_val", "target_only_train_val")
    }
    for name, text in target_set_files(TargetSet(task, net=net, frozen=frozen), names).items():
        (photo_folder / name).write_text(text)
    normalised = BACKBONES[net].frozen is not None
    state = "frozen" if frozen or not normalised else "learned"
    first = "conv1_1" if net == "vgg16" else "conv1"
    nets = [(names["joint_train_val"], [first, "fc_target", "fc_source"])]
    if net == "squeezenet":
        nets.append((names["target_only_train_val"], [first, "fc_target"]))
    for file, layers in nets:
        command = [sys.executable, "-c", STEP, file, state, *layers]
        subprocess.run(command, cwd=photo_folder, check=True, timeout=300)


def caffe_train(folder: Path, solver: str, *options: str) -> str:
    process = subprocess.run(
        ["caffe", "train", "-solver", solver, *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:]
    return process.stdout


@pytest.mark.parametrize("kind", ["joint", "target_only"])
def test_demo_nets_train_on_the_command_line(demo_folder, kind):
    log = caffe_train(demo_folder, f"nets/{kind}_solver.prototxt")
    assert "Use CPU" in log and "Optimization Done" in log
    assert re.search(r"Iteration 20, Testing net", log)
    losses = [float(x) for x in re.findall(r"Test net output.*target_loss = (\S+)", log)]
    accuracies = [float(x) for x in re.findall(r"Test net output.*accuracy_top5 = (\S+)", log)]
    assert len(losses) == len(accuracies) == 1
    assert np.isfinite(losses[0])
    # Five of ten classes would be right by chance; the drawings are easy.
    assert accuracies[0] > 0.6
    weights = demo_folder / f"nets/{kind}_iter_20.caffemodel"
    trained = caffe_pb2.NetParameter.FromString(weights.read_bytes())
    names = [layer.name for layer in trained.layer if layer.blobs]
    assert ("fc_source" in names) == (kind == "joint")
    deploy = caffe.Net(str(demo_folder / "nets/deploy.prototxt"), str(weights), caffe.TEST)
    assert set(deploy.params) <= set(names)
    assert np.abs(deploy.params["res4b_branch2c"][0].data).max() > 0
    assert deploy.params["bn4b"][2].data[0] > 1


def test_joint_batch_reaches_both_classifiers(demo_folder):
    """TRAIN and TEST of the joint net as it is, in a process that stands in the folder."""
    script = """
import caffe
net = caffe.Net("nets/joint_train_val.prototxt", caffe.TRAIN)
net.forward()
net.backward()
shapes = [net.blobs[b].data.shape for b in ("data", "target_label", "fc_target", "fc_source")]
assert shapes == [(32, 3, 32, 32), (16,), (16, 10), (16, 8)], shapes
total, target, source = (net.blobs[b].data.item() for b in ("loss", "target_loss", "source_loss"))
assert abs(total - (target + source) / 2) < 1e-5
for name in ("fc_target", "fc_source", "conv1"):
    assert abs(net.params[name][0].diff).max() > 0, name
# Each half of the batch feeds its own classifier alone.
assert (net.blobs["pool5_source"].data == net.blobs["pool5"].data[16:]).all()
net.save("nets/one_step.caffemodel")
test = caffe.Net("nets/joint_train_val.prototxt", "nets/one_step.caffemodel", caffe.TEST)
test.forward()
assert "fc_source" not in test.params
assert (test.blobs["pool5_target"].data == test.blobs["pool5"].data).all()
assert test.blobs["fc_target"].data.shape == (10, 10)
"""
    subprocess.run([sys.executable, "-c", script], cwd=demo_folder, check=True, timeout=120)


def test_solvers_are_the_papers():
    solver = caffe_pb2.SolverParameter()
    text_format.Parse((PROTOTXT / "sjft_solver.prototxt").read_text(), solver)
    net = read_net(REPO / solver.net)
    data = {layer.include[0].phase: layer for layer in net.layer if layer.name == "data"}
    train = json.loads(data[caffe.TRAIN].python_param.param_str)
    test = json.loads(data[caffe.TEST].python_param.param_str)
    assert (train["batch_size"], train["k0"], train["crop"]) == (18, 300, 224)
    assert (solver.iter_size, solver.type, solver.lr_policy) == (10, "SGD", "step")
    assert solver.base_lr == pytest.approx(0.01) and solver.momentum == pytest.approx(0.9)
    assert solver.weight_decay == pytest.approx(1e-4)
    assert (solver.stepsize, solver.max_iter, solver.gamma) == (4000, 20000, pytest.approx(0.1))
    assert solver.test_iter[0] * test["batch_size"] == 1340
    assert not solver.test_initialization
