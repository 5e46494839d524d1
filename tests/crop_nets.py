"""Nets for the tests of several views, and their scores by ``sjft evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from caffe.proto import caffe_pb2

import caffe
from conftest import draw_image, write_image_lmdb
from sjft_tools.cli import main
from sjft_tools.evaluation.scores_file import read_scores


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


def make_small(folder: Path) -> Small:
    """A small net, the same fully convolutional, and images of several sizes of stride 4."""
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
