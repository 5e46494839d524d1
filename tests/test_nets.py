"""The generated nets in the real Caffe: names, shapes, published weights, rates and solvers."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import caffe
from conftest import REPO, SHARED, run_sjft
from sjft.layer_params import parse_joint_data
from sjft_tools.net_files import read_net

REFERENCE = SHARED / "reference/param_shapes.json"
PROTOTXT = REPO / "prototxt"


def in_phase(net: caffe_pb2.NetParameter, phase: int) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in net.layer if all(rule.phase == phase for rule in layer.include)]


def param_shapes(net: caffe.Net) -> OrderedDict[str, list[list[int]]]:
    return OrderedDict((name, [list(b.data.shape) for b in v]) for name, v in net.params.items())


def reference(name: str) -> dict[str, Any]:
    if not REFERENCE.exists():
        pytest.skip("needs ../shared/reference/param_shapes.json")
    return json.loads(REFERENCE.read_text())[name]


@pytest.fixture(scope="module")
def joint_resnet152(tmp_path_factory) -> caffe.Net:
    """The joint ResNet-152 in TRAIN, its data layer replaced by an input, without its loss."""
    net = read_net(str(PROTOTXT / "sjft_train_val.prototxt"))
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
    published = reference("sjft_resnet152")
    wanted = [(layer["name"], layer["param_shapes"]) for layer in published["layers"]]
    assert list(param_shapes(joint_resnet152).items()) == wanted
    types = [layer["type"] for layer in published["layers"]]
    kinds = dict(zip(joint_resnet152._layer_names, joint_resnet152.layers))
    assert [kinds[name].type for name, _ in wanted] == types
    blobs = {name: list(joint_resnet152.blobs[name].data.shape) for name in published["blobs"]}
    assert blobs == published["blobs"]


def test_statistics_are_not_learned_and_normalised_convolutions_have_no_bias():
    for path in sorted(PROTOTXT.rglob("*train_val.prototxt")):
        for layer in read_net(str(path)).layer:
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


def test_solvers_are_the_papers():
    solver = caffe_pb2.SolverParameter()
    text_format.Parse((PROTOTXT / "sjft_solver.prototxt").read_text(), solver)
    net = read_net(str(REPO / solver.net))
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


@pytest.mark.parametrize(("classes", "most"), [(1, 9), (2, 5), (3, 3), (4, 3), (5, 2), (67, 2)])
def test_a_batch_can_be_filled_from_few_target_classes(tmp_path, classes, most):
    options = ("--net", "squeezenet", "--target-classes", classes, "--out-dir", "nets")
    run_sjft("prototxt", *options, cwd=tmp_path)
    data, *_ = read_net(str(tmp_path / "nets/sjft_train_val.prototxt")).layer
    params = parse_joint_data(data.python_param.param_str)
    assert params.max_per_class == most
    assert most * classes >= params.batch_size // 2
