"""A small net with its weights, and images that ``sjft evaluate`` shows it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import caffe
from conftest import draw_image, run_sjft, write_image_lmdb

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


def make_world(folder: Path) -> World:
    """A net with random weights, and images of several sizes and of all classes but one."""
    deploy = folder / "deploy.prototxt"
    deploy.write_text(deploy_text())
    rng = np.random.default_rng(5)
    images = [draw_image(i, *rng.integers(28, 60, 2).tolist()) for i in range(IMAGES)]
    labels = [int(i) for i in rng.integers(0, CLASSES - 1, IMAGES)]
    test = write_image_lmdb(folder / "test", images, labels, [f"class {c}" for c in "abcdef"])
    return World(folder, deploy, save_weights(deploy, folder / "net.caffemodel"), test)


def evaluate(world: World, *options: object) -> str:
    return run_sjft("evaluate", world.deploy, world.weights, world.test, *options)
