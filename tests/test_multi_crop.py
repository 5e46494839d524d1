"""Views of the published protocols, against caffe.io's oversampling and a net in torch."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2

import caffe
from conftest import draw_image, write_image_lmdb
from processes import SJFT
from sjft.image_lmdb import ImageLmdb
from sjft_tools.cli import main
from sjft_tools.evaluation.accuracy import accuracy
from sjft_tools.evaluation.scores_file import read_scores
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.nets import squeezenet
from sjft_tools.nets.deploy import dense_deploy, target_deploy
from sjft_tools.nets.joint import Task

MEAN = np.array([104, 117, 123], np.float32)
PHOTOGRAPHS = 4


class World(NamedTuple):
    deploy: Path
    weights: Path
    photographs: Path
    images: list[np.ndarray]


@pytest.fixture(scope="module")
def world(shared_data, tmp_path_factory) -> World:
    """Real photographs, stored as the JPEGs that they are, and a real net."""
    folder = shared_data / "target_oxford17_flowers"
    with open(folder / "labels.csv", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    lmdb = tmp_path_factory.mktemp("multi crop") / "photographs"
    images = []
    with ImageLmdbWriter(str(lmdb), []) as writer:
        for path in paths[:: len(paths) // PHOTOGRAPHS][:PHOTOGRAPHS]:
            encoded = (folder / path).read_bytes()
            images.append(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR))
            label = 7 * len(images)
            writer.add(encoded_datum(encoded, label, *images[-1].shape[:2]), label)
    models = shared_data / "models"
    return World(
        models / "squeezenet_v1.0_dc_deploy.prototxt",
        models / "squeezenet_v1.0_dc.caffemodel",
        lmdb,
        images,
    )


def scaled(image: np.ndarray, shorter: int) -> np.ndarray:
    factor = shorter / min(image.shape[:2])
    height, width = (int(side * factor + 0.5) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def softmax(scores: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(np.asarray(scores, np.float64), axis=1)


class TorchSqueezeNet:
    """SqueezeNet 1.0 written down anew, with the weights of a .caffemodel."""

    def __init__(self, weights: Path) -> None:
        self.torch = pytest.importorskip("torch")
        model = caffe_pb2.NetParameter.FromString(weights.read_bytes())
        self.blobs = {
            layer.name: [
                self.torch.tensor(list(blob.data)).reshape(list(blob.shape.dim)[-4:])
                for blob in layer.blobs
            ]
            for layer in model.layer
            if layer.blobs
        }

    def convolution(self, x, name: str, **how: int):
        weight, bias = self.blobs[name]
        return self.torch.relu(self.torch.nn.functional.conv2d(x, weight, bias.reshape(-1), **how))

    def pool(self, x):
        return self.torch.nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def fire(self, x, number: int):
        squeezed = self.convolution(x, f"fire{number}/conv1x1_1")
        wide = self.convolution(squeezed, f"fire{number}/conv3x3_2", padding=1)
        return self.torch.cat([self.convolution(squeezed, f"fire{number}/conv1x1_2"), wide], 1)

    def scores(self, images: np.ndarray) -> np.ndarray:
        x = self.torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        with self.torch.no_grad():
            x = self.pool(self.convolution(x, "conv1", stride=2))
            for number in range(2, 10):
                x = self.fire(x, number)
                x = self.pool(x) if number in (4, 8) else x
            return self.convolution(x, "conv_final", padding=1).mean(dim=(2, 3)).numpy()


def evaluated(folder: Path, *arguments: object) -> tuple[np.ndarray, dict]:
    """Run the command in this process; return the scores and the JSON result."""
    files = ("--scores", folder / "scores.npz", "--json", folder / "result.json", "--force")
    main(["evaluate", *map(str, (*arguments, *files))])
    result = json.loads((folder / "result.json").read_text())
    return read_scores(str(folder / "scores.npz")).scores, result


def relabelled(world: World, expected: np.ndarray, folder: Path) -> Path:
    """The photographs, labelled so that the expected scores have some of them right."""
    order = np.argsort(-expected, axis=1)
    ranks = [0, 4, 0, 5]
    labels = [int(order[i, rank]) for i, rank in enumerate(ranks)]
    values = ImageLmdb(str(world.photographs))
    with ImageLmdbWriter(str(folder / "relabelled"), []) as writer:
        for i, label in enumerate(labels):
            datum = caffe_pb2.Datum.FromString(values.value(i))
            shape = world.images[i].shape[:2]
            writer.add(encoded_datum(datum.data, label, *shape), label)
    return folder / "relabelled"


def test_ten_crops_equal_caffes_oversampling(world, tmp_path, shared_data):
    """Photographs of which most are not square; crops by caffe.io, forward by caffe.Net."""
    net = caffe.Net(str(world.deploy), str(world.weights), caffe.TEST)
    expected = []
    for image in world.images:
        crops = caffe.io.oversample([scaled(image, 256).astype(np.float32) - MEAN], (227, 227))
        net.blobs["data"].reshape(10, 3, 227, 227)
        net.reshape()
        net.blobs["data"].data[...] = crops.transpose(0, 3, 1, 2)
        expected.append(softmax(net.forward()["pool_final"].reshape(10, -1)).mean(axis=0))
    expected = np.array(expected)
    test = relabelled(world, expected, tmp_path)
    scores, result = evaluated(tmp_path, world.deploy, world.weights, test, "--crops", 10)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert (result["top1"], result["top5"]) == (2 / 4, 3 / 4)
    assert result["models"][0]["crops"] == "10"


@pytest.mark.parametrize("crops", ["1", "10", "dense"])
def test_scores_equal_those_of_a_net_in_torch(world, tmp_path, crops):
    net = TorchSqueezeNet(world.weights)
    expected = []
    for image in world.images:
        if crops == "dense":
            wholes = [scaled(image, scale).astype(np.float32) - MEAN for scale in (240, 300)]
            views = [[whole, whole[:, ::-1]] for whole in wholes]
        else:
            whole = scaled(image, 256).astype(np.float32) - MEAN
            y, x = whole.shape[0] - 227, whole.shape[1] - 227
            places = [(y // 2, x // 2)]
            if crops == "10":
                places += [(0, 0), (0, x), (y, 0), (y, x)]
            cut = [whole[top : top + 227, left : left + 227] for top, left in places]
            views = [cut + ([crop[:, ::-1] for crop in cut] if crops == "10" else [])]
        rows = [softmax(net.scores(np.stack(same_size))) for same_size in views]
        expected.append(np.concatenate(rows).mean(axis=0))
    expected = np.array(expected)
    test = relabelled(world, expected, tmp_path)
    options = ("--scales", 240, 300) if crops == "dense" else ()
    arguments = (world.deploy, world.weights, test, "--crops", crops, *options)
    scores, result = evaluated(tmp_path, *arguments)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    labels = ImageLmdb(str(test)).labels
    ranks = (expected > expected[np.arange(PHOTOGRAPHS), labels][:, None]).sum(axis=1)
    assert result["top1"] == (ranks < 1).mean() == 2 / 4
    assert result["top5"] == (ranks < 5).mean() == 3 / 4
    means = [np.mean(ranks[labels == label] < 1) for label in set(labels.tolist())]
    assert result["mean_class"] == pytest.approx(np.mean(means))


# ---- small nets

BODY = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 25 dim: 25 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 5 stride: 2
                            weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 5 stride: 2 } }
"""
CLASSIFIER = """
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
CONVOLUTION = """
layer { name: "fc" type: "Convolution" bottom: "pool" top: "fc"
        convolution_param { num_output: 5 kernel_size: 4 } }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'


class Small(NamedTuple):
    folder: Path
    deploy: Path
    dense: Path
    weights: Path
    test: Path
    images: list[np.ndarray]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    """A small net, the same fully convolutional, and images of several sizes of stride 4."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "deploy.prototxt").write_text(BODY + CLASSIFIER + SOFTMAX)
    (folder / "dense.prototxt").write_text(BODY + CONVOLUTION)
    caffe.set_random_seed(3)
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TRAIN)
    net.save(str(folder / "net.caffemodel"))
    shapes = [(33, 33), (33, 45), (49, 33)]
    images = [draw_image(i, *shapes[i % 3]) for i in range(9)]
    test = write_image_lmdb(folder / "test", images, [i % 4 for i in range(9)], list("abcd"))
    names = ("deploy.prototxt", "dense.prototxt", "net.caffemodel")
    return Small(folder, *(folder / name for name in names), test, images)


def logits(small: Small, crops: np.ndarray) -> np.ndarray:
    net = caffe.Net(str(small.deploy), str(small.weights), caffe.TEST)
    net.blobs["data"].reshape(*crops.shape)
    net.blobs["data"].data[...] = crops
    net.forward()
    return np.array(net.blobs["fc"].data)


def test_dense_scores_are_those_of_the_classifier_at_every_position(small, tmp_path):
    """The trained InnerProduct, loaded into a convolution, against itself in a sliding window."""
    expected = []
    for image in small.images:
        planes = image.transpose(2, 0, 1).astype(np.float32) - MEAN[:, None, None]
        places = [(y, x) for y in range(0, image.shape[0] - 24, 4) for x in range(0, 21, 4)]
        places = [(y, x) for y, x in places if x <= image.shape[1] - 25]
        rows = []
        for view in (planes, planes[:, :, ::-1]):
            crops = np.stack([view[:, y : y + 25, x : x + 25] for y, x in places])
            rows.append(softmax(logits(small, crops).mean(axis=0, keepdims=True))[0])
        expected.append(np.mean(rows, axis=0))
    options = ("--crops", "dense", "--scales", 33)
    for batch_size in (1, 4):
        arguments = (small.dense, small.weights, small.test, *options, "--batch-size", batch_size)
        scores, _ = evaluated(tmp_path, *arguments)
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_generated_dense_nets_take_the_weights_of_deploy(world, tmp_path):
    """A whole image as large as the crop has one window: the mean of it and its mirror image."""
    task = Task(5, 3, 2, 1, 1, 224, {}, {}, mirror=True)
    for name, make in (("deploy", target_deploy), ("dense", dense_deploy)):
        (tmp_path / f"{name}.prototxt").write_text(make(name, "", squeezenet.trunk(), task))
    deploy, weights = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    caffe.set_random_seed(3)
    net = caffe.Net(str(deploy), caffe.TRAIN)
    net.copy_from(str(world.weights))
    net.params["fc_target"][0].data[...] = np.random.default_rng(1).normal(size=(5, 512))
    net.save(str(weights))
    images = [draw_image(i, 224, 224) for i in range(3)]
    test = write_image_lmdb(tmp_path / "test", images, [0, 1, 2])
    planes = np.stack([image.transpose(2, 0, 1) for image in images]) - MEAN[:, None, None]
    net = caffe.Net(str(deploy), str(weights), caffe.TEST)
    net.blobs["data"].reshape(6, 3, 224, 224)
    net.blobs["data"].data[...] = np.concatenate([planes, planes[..., ::-1]])
    expected = np.array(net.forward()["prob"]).reshape(2, 3, 5).mean(axis=0)
    options = ("--crops", "dense", "--scales", 224)
    scores, _ = evaluated(tmp_path, tmp_path / "dense.prototxt", weights, test, *options)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores.std() > 1e-3


def test_probabilities_of_a_softmax_layer_are_taken_as_they_are(small, tmp_path):
    arguments = (small.deploy, small.weights, small.test, "--crops", 10)
    by_layer, _ = evaluated(tmp_path, *arguments)
    by_numpy, _ = evaluated(tmp_path, *arguments, "--output", "fc")
    np.testing.assert_allclose(by_layer, by_numpy, atol=1e-6)
    np.testing.assert_allclose(by_layer.sum(axis=1), 1, atol=1e-6)


def test_batches_do_not_matter_to_ten_crops(small, tmp_path):
    arguments = (small.deploy, small.weights, small.test, "--crops", 10, "--resize", 29)
    scores = [evaluated(tmp_path, *arguments, "--batch-size", size)[0] for size in (1, 7, 90)]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-6)
    assert accuracy(scores[0], ImageLmdb(str(small.test)).labels).top5 == 1


# ---- killed and started again


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(small, tmp_path, capfd):
    images = [draw_image(i, 27, 30) for i in range(600)]
    test = write_image_lmdb(tmp_path / "many", images, [i % 4 for i in range(600)])
    options = (small.deploy, small.weights, test, "--crops", 10, "--scores")
    command = [*SJFT, "evaluate"]
    work = tmp_path / ".killed.npz.work"
    killed = [*command, *map(str, (*options, tmp_path / "killed.npz"))]
    for chunk in ("000000.npy", "000003.npy"):
        process = subprocess.Popen(killed, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (work / chunk).exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed.npz").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in work.glob("0*.npy")}
    main(["evaluate", *map(str, (*options, tmp_path / "straight.npz"))])
    assert "goes on" not in capfd.readouterr().err
    assert finished == {path.name: path.stat().st_mtime_ns for path in work.glob("0*.npy")}
    main(["evaluate", *map(str, (*options, tmp_path / "killed.npz"))])
    assert f"goes on with what an unfinished run left in {work}" in capfd.readouterr().err
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "straight.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["killed.npz", "many", "straight.npz"]


def test_what_another_run_left_is_not_taken(small, tmp_path):
    work = tmp_path / ".scores.npz.work"
    work.mkdir()
    (work / "plan.json").write_text("{}")
    np.save(work / "000000.npy", np.full((9, 5), 0.2, np.float32))
    scores, _ = evaluated(tmp_path, small.deploy, small.weights, small.test, "--crops", 10)
    assert scores.std() > 0.01 and not work.exists()


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crops", "dense", "--resize", 40), "--crops dense shows whole images: expected --sc"),
        (("--crops", "dense", "--scales", 40, 40), "--scales names a size twice: 40 40"),
        (("--scales", 40), "--scales is for --crops dense, got --crops 1"),
        (("--crops", "10", "--resize", 24), "crop 25 is larger than record 0"),
        (("--crops", "dense", "--scales", 40), "--crops dense expects a fully convolutional one"),
        (("--crops", "2"), "invalid choice: '2'"),
        (("--mean", "nan", 0, 0), "expected three finite numbers"),
        (("--output", "fcc"), "did you mean 'fc'?"),
    ],
)
def test_bad_options(small, tmp_path, capsys, options, message):
    arguments = (small.deploy, small.weights, small.test, *options, "--scores", tmp_path / "s.npz")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    left = sorted(os.listdir(tmp_path))
    assert left in ([], [".s.npz.work"])
