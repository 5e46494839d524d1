"""``sjft evaluate`` against Caffe's own Accuracy layer, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from caffe.proto import caffe_pb2

import caffe
from conftest import REPO, centre_view, draw_image, run_sjft, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.cli import main
from sjft_tools.evaluation.accuracy import accuracy, label_ranks

CLASSES, IMAGES, CROP = 7, 50, 24

TRUNK = """
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {
    num_output: 6 kernel_size: 5 stride: 2
    weight_filler { type: "gaussian" std: 0.02 }
  }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer {
  name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE kernel_size: 5 stride: 2 }
}
layer {
  name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: %d weight_filler { type: "xavier" } }
}
"""

INPUT = """
layer {
  name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: %d dim: %d dim: %d } }
}
"""

SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'

# Caffe's own count, on the batches of the TEST phase's data layer
REFERENCE = """
layer {
  name: "data" type: "Python" top: "data" top: "label"
  python_param { module: "sjft.layers" layer: "TargetDataLayer" param_str: '%s' }
}
"""
COUNTS = """
layer { name: "top1" type: "Accuracy" bottom: "fc" bottom: "label" top: "top1" top: "per_class" }
layer {
  name: "top5" type: "Accuracy" bottom: "fc" bottom: "label" top: "top5"
  accuracy_param { top_k: 5 }
}
"""


class World(NamedTuple):
    folder: Path
    deploy: Path
    weights: Path
    test: Path


def deploy_text(crop: int = CROP, channels: int = 3, classes: int = CLASSES) -> str:
    return INPUT % (channels, crop, crop) + TRUNK % classes


def save_weights(net_file: Path, weights: Path) -> Path:
    caffe.set_random_seed(3)
    caffe.Net(str(net_file), caffe.TRAIN).save(str(weights))
    return weights


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """A net with random weights, and images of several sizes and of all classes but one."""
    folder = tmp_path_factory.mktemp("evaluate")
    deploy = folder / "deploy.prototxt"
    deploy.write_text(deploy_text())
    rng = np.random.default_rng(5)
    images = [draw_image(i, *rng.integers(28, 60, 2).tolist()) for i in range(IMAGES)]
    labels = [int(i) for i in rng.integers(0, CLASSES - 1, IMAGES)]
    test = write_image_lmdb(folder / "test", images, labels, [f"class {c}" for c in "abcdef"])
    return World(folder, deploy, save_weights(deploy, folder / "net.caffemodel"), test)


def evaluate(world: World, *options: object, status: int = 0) -> str:
    return run_sjft("evaluate", world.deploy, world.weights, world.test, *options, status=status)


def reference(world: World, **transform: object) -> dict[str, np.ndarray]:
    params = {"target": str(world.test), "batch_size": IMAGES, "crop": CROP, "workers": 1}
    file = world.folder / "reference.prototxt"
    file.write_text(REFERENCE % json.dumps({**params, **transform}) + TRUNK % CLASSES + COUNTS)
    net = caffe.Net(str(file), str(world.weights), caffe.TEST)
    net.forward()
    found = {name: np.array(net.blobs[name].data) for name in ("top1", "top5", "per_class")}
    net.layers[0].close()
    return found


@pytest.mark.parametrize(
    ("options", "transform"),
    [
        ((), {}),
        (("--resize", 30), {"resize": 30}),
        (("--resize-shorter", 26), {"resize_shorter": 26}),
        (("--mean", 1, 2.5, 3), {"mean": [1, 2.5, 3]}),
    ],
    ids=["stored size", "resize", "shorter", "mean"],
)
def test_equals_caffes_accuracy_layer_in_the_test_phase(world, tmp_path, options, transform):
    expected = reference(world, **transform)
    printed = evaluate(world, *options, "--json", tmp_path / "out.json", "--batch-size", 7)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["top1"] == pytest.approx(float(expected["top1"]), abs=1e-6)
    assert result["top5"] == pytest.approx(float(expected["top5"]), abs=1e-6)
    labels = ImageLmdb(str(world.test)).labels
    seen = np.bincount(labels, minlength=CLASSES) > 0
    assert seen.sum() == CLASSES - 1
    assert result["mean_class"] == pytest.approx(expected["per_class"][seen].mean(), abs=1e-6)
    per_class = [entry["top1"] for entry in result["per_class"]]
    np.testing.assert_allclose(per_class, expected["per_class"][seen], atol=1e-6)
    assert [entry["name"] for entry in result["per_class"]] == [f"class {c}" for c in "abcdef"]
    assert 0 < result["top1"] < result["top5"] < 1
    assert re.search(rf"top-1 +{100 * result['top1']:.2f} %", printed)
    assert "classes       7, 6 of them with images" in printed
    assert result["images"] == IMAGES and result["models"][0]["crop"] == CROP
    assert result["test_fingerprint"] == ImageLmdb(str(world.test)).fingerprint


def test_batches_do_not_matter(world, tmp_path):
    for size in (1, 7, 200):
        evaluate(world, "--batch-size", size, "--json", tmp_path / f"{size}.json")
    results = [json.loads((tmp_path / f"{size}.json").read_text()) for size in (1, 7, 200)]
    assert results[0] == results[1] == results[2]


def test_published_view_is_the_default_for_large_inputs(tmp_path):
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(deploy_text(crop=224).replace("stride: 2", "stride: 8"))
    weights = save_weights(deploy, tmp_path / "w.caffemodel")
    images = [draw_image(i, 300, 280) for i in range(4)]
    test = write_image_lmdb(tmp_path / "test", images, [0, 1, 2, 3])
    printed = run_sjft("evaluate", deploy, weights, test, "--json", tmp_path / "out.json")
    assert "view          shorter side 256, centre 224 x 224" in printed
    net = caffe.Net(str(deploy), str(weights), caffe.TEST)
    net.blobs["data"].reshape(4, 3, 224, 224)
    views = [centre_view(image, None, 256, 224, [104, 117, 123]) for image in images]
    net.blobs["data"].data[...] = np.stack(views)
    best = net.forward()["fc"].argmax(axis=1)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["top1"] == pytest.approx((best == np.arange(4)).mean())


def test_probabilities_and_a_named_output(world, tmp_path):
    evaluate(world, "--json", tmp_path / "scores.json")
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(deploy_text() + SOFTMAX)
    for i, options in enumerate([(), ("--output", "fc"), ("--output", "prob")]):
        out = ("--json", tmp_path / f"{i}.json")
        run_sjft("evaluate", deploy, world.weights, world.test, *options, *out)
        result = json.loads((tmp_path / f"{i}.json").read_text())
        assert result["top1"] == json.loads((tmp_path / "scores.json").read_text())["top1"]


def test_outputs_that_are_n_by_c_by_1_by_1(world, tmp_path):
    pooled = """
    layer { name: "classes" type: "Convolution" bottom: "pool" top: "classes"
            convolution_param { num_output: 7 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "mean" type: "Pooling" bottom: "classes" top: "mean"
            pooling_param { pool: AVE global_pooling: true } }
    """
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(deploy_text().split('layer {\n  name: "fc"')[0] + pooled)
    weights = save_weights(deploy, tmp_path / "w.caffemodel")
    assert "top-1" in run_sjft("evaluate", deploy, weights, world.test)


def test_ranks_and_accuracy_by_hand():
    scores = np.array([[3, 2, 1], [1, 1, 0], [0, 0, 0], [1, 2, 3]], np.float32)
    labels = np.array([0, 0, 2, 2])
    assert label_ranks(scores, labels).tolist() == [0, 1, 2, 0]  # ties count against the net
    result = accuracy(scores, labels)
    assert (result.top1, result.top5, result.mean_class) == (0.5, 1.0, 0.5)
    assert result.per_class[[0, 2]].tolist() == [0.5, 0.5] and np.isnan(result.per_class[1])
    assert result.images.tolist() == [2, 0, 2]


@pytest.mark.parametrize("classes", [2, 5, 6, 300])
def test_accuracy_against_a_loop(classes):
    rng = np.random.default_rng(classes)
    scores = rng.integers(0, 4, (200, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 200)
    right = {1: 0, 5: 0}
    for row, label in zip(scores.tolist(), labels.tolist()):
        better = sum(s >= row[label] for c, s in enumerate(row) if c != label)
        for k in right:
            right[k] += better < k
    result = accuracy(scores, labels)
    assert (result.top1, result.top5) == (right[1] / 200, right[5] / 200)


# ---- what is refused


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
        (deploy_text().replace('bottom: "conv" top: "pool"', 'bottom: "conv" top: "fc2"'), "fc"),
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


def test_the_demo_net(tmp_path):
    deploy = REPO / "prototxt" / "demo" / "deploy.prototxt"
    weights = save_weights(deploy, tmp_path / "w.caffemodel")
    images = [draw_image(i, 32, 32) for i in range(5)]
    test = write_image_lmdb(tmp_path / "test", images, range(5))
    assert "view          stored size, centre 32 x 32" in run_sjft(
        "evaluate", deploy, weights, test
    )
