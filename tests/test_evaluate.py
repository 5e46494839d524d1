"""``sjft evaluate`` against Caffe's own Accuracy layer."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import caffe
from conftest import REPO, centre_view, draw_image, run_sjft, write_image_lmdb
from evaluate_nets import (
    CLASSES,
    CROP,
    IMAGES,
    TRUNK,
    World,
    deploy_text,
    evaluate,
    make_world,
    save_weights,
)
from sjft.image_lmdb import ImageLmdb
from sjft_tools.evaluation.accuracy import accuracy, label_ranks

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


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("evaluate"))


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


def test_the_demo_net(tmp_path):
    deploy = REPO / "prototxt" / "demo" / "deploy.prototxt"
    weights = save_weights(deploy, tmp_path / "w.caffemodel")
    images = [draw_image(i, 32, 32) for i in range(5)]
    test = write_image_lmdb(tmp_path / "test", images, range(5))
    assert "view          stored size, centre 32 x 32" in run_sjft(
        "evaluate", deploy, weights, test
    )
