"""Views of the published protocols, against caffe.io's oversampling and a net in torch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2

import caffe
from conftest import draw_image, write_image_lmdb
from crop_nets import Small, TorchSqueezeNet, evaluated, make_small
from sjft.image_lmdb import ImageLmdb
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


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    return make_small(tmp_path_factory.mktemp("small"))


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
