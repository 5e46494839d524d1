"""What ``sjft evaluate`` refuses: weights, nets, images and outputs."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2

from conftest import draw_image, run_sjft, write_image_lmdb
from evaluate_nets import CLASSES, TRUNK, World, deploy_text, evaluate, make_world
from sjft_tools.cli import main


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("evaluate"))


def refused(*arguments: object) -> str:
    """Run the command in this process, which spares loading Caffe; return its error message."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    assert ended.value.code == 2
    return printed.getvalue().split("sjft evaluate: error: ")[1]


def variant(folder: Path, text: str) -> Path:
    file = folder / "variant.prototxt"
    file.write_text(text)
    return file


def test_weights_that_lack_layers(world, tmp_path):
    more = deploy_text().replace('"fc"', '"other"')
    message = refused(variant(tmp_path, more), world.weights, world.test)
    assert "has no weights for the layer 'other' of" in message
    assert "which would stay random" in message


def test_weights_of_other_shapes(world, tmp_path):
    message = refused(variant(tmp_path, deploy_text(classes=9)), world.weights, world.test)
    assert "the layer 'fc' has weights of 7 x 96 in" in message
    assert "expected 9 x 96 as in" in message
    no_bias = deploy_text().replace("num_output: 7", "num_output: 7 bias_term: false")
    message = refused(variant(tmp_path, no_bias), world.weights, world.test)
    assert "the layer 'fc' has 2 blobs in" in message and "expected the 1 of" in message


def test_weights_in_the_old_format(world, tmp_path):
    """V1 layers and blobs of num, channels, height, width: Caffe reads them, so they pass."""
    new = caffe_pb2.NetParameter.FromString(world.weights.read_bytes())
    old = caffe_pb2.NetParameter()
    for layer in new.layer:
        blobs = []
        for blob in layer.blobs:
            shape = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            named = dict(zip(("num", "channels", "height", "width"), shape))
            blobs.append(caffe_pb2.BlobProto(data=blob.data, **named))
        old.layers.add(name=layer.name, blobs=blobs)
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    by_old = run_sjft("evaluate", world.deploy, tmp_path / "old.caffemodel", world.test)
    numbers = re.compile(r"^(?:top|mean).*$", re.MULTILINE)
    assert numbers.findall(by_old) == numbers.findall(evaluate(world)) != []
    old.layers[-1].blobs[0].width += 1
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    message = refused(world.deploy, tmp_path / "old.caffemodel", world.test)
    assert "has weights of 1 x 1 x 7 x 97 in" in message


def test_weights_that_are_none(world, tmp_path):
    (tmp_path / "page.caffemodel").write_text("<html>404</html>")
    message = refused(world.deploy, tmp_path / "page.caffemodel", world.test)
    assert "is not a .caffemodel file" in message
    message = refused(world.deploy, tmp_path / "no.caffemodel", world.test)
    assert "no.caffemodel cannot be read: No such file or directory" in message


def test_weights_with_nan(world, tmp_path):
    spoilt = caffe_pb2.NetParameter.FromString(world.weights.read_bytes())
    next(layer for layer in spoilt.layer if layer.name == "fc").blobs[0].data[0] = float("nan")
    (tmp_path / "nan.caffemodel").write_bytes(spoilt.SerializeToString())
    out = tmp_path / "out.json"
    message = refused(world.deploy, tmp_path / "nan.caffemodel", world.test, "--json", out)
    assert "the scores 'fc' of record 0 (key 0000000000)" in message
    assert "are not finite" in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer {", "Failed to parse NetParameter file"),
        (deploy_text().replace("ReLU", "ReLUU"), "Unknown layer type: ReLUU"),
        (deploy_text(channels=1), "is 1 x 1 x 24 x 24, expected N x 3 x S x S"),
        (deploy_text().replace("dim: 24 }", "dim: 26 }"), "is 1 x 3 x 24 x 26, expected"),
        (TRUNK % CLASSES, "Unknown bottom blob 'data'"),
        (
            deploy_text().replace('bottom: "conv" top: "pool"', 'bottom: "conv" top: "fc2"'),
            "Unknown bottom blob 'pool' (layer 'fc'",
        ),
        (deploy_text().split('layer {\n  name: "pool"')[0], "expected N x classes"),
        (
            deploy_text() + 'layer { name: "s" type: "Silence" bottom: "fc" }',
            "has 0 outputs",
        ),
        (
            deploy_text() + 'layer { name: "r" type: "ReLU" bottom: "pool" top: "r" }',
            "has 2 outputs (fc, r): name the one with the scores by --output",
        ),
    ],
)
def test_nets_that_cannot_be_used(world, tmp_path, text, message):
    assert message in refused(variant(tmp_path, text), world.weights, world.test)


def test_a_train_net_without_inputs(world, tmp_path):
    dummy = """
    layer { name: "data" type: "DummyData" top: "data"
            dummy_data_param { shape { dim: 1 dim: 3 dim: 24 dim: 24 } } }
    """
    message = refused(variant(tmp_path, dummy + TRUNK % 7), world.weights, world.test)
    assert "has 0 inputs, expected one: a deploy prototxt with an Input layer" in message


def test_other_bad_input(world, tmp_path):
    assert "no.prototxt does not exist" in refused(
        tmp_path / "no.prototxt", world.weights, world.test
    )
    assert "does not exist" in refused(world.deploy, world.weights, tmp_path / "no")
    message = refused(world.deploy, world.weights, world.test, "--output", "fcc")
    assert "has no blob 'fcc' for --output; did you mean 'fc'?" in message
    message = refused(world.deploy, world.weights, world.test, "--resize", 8)
    assert "crop 24 is larger than record 0" in message
    large = write_image_lmdb(tmp_path / "large", [draw_image(1)], [7])
    message = refused(world.deploy, world.weights, large)
    assert "has labels up to 7, but the output 'fc' of" in message
    assert "has 7 classes: expected labels up to 6" in message


def test_a_gpu_that_is_not_there(world):
    if Path("/dev/nvidia0").exists():
        pytest.skip("needs a machine without a GPU")
    message = refused(world.deploy, world.weights, world.test, "--gpu", 0)
    assert "Caffe cannot build the net" in message and "on GPU 0: " in message


def test_an_output_that_exists(world, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("mine")
    message = refused(world.deploy, world.weights, world.test, "--json", out)
    assert f"the output {out} exists: give --force to replace it" in message
    assert out.read_text() == "mine"
    evaluate(world, "--json", out, "--force")
    assert json.loads(out.read_text())["format"] == "sjft evaluation 2"
