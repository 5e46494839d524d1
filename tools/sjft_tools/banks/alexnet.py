"""The AlexNet bank: the raw outputs of conv1 and conv2, computed by Caffe."""

from __future__ import annotations

import os
import tempfile

import numpy as np

from sjft.errors import InputError
from sjft_tools.banks.alexnet_weights import checksum, read_weights
from sjft_tools.banks.bank import Layer
from sjft_tools.pycaffe import import_caffe

CROP = 224
#: ImageNet's mean, B, G, R
MEAN = (104.0, 117.0, 123.0)

# The ReLU is not in place, for conv1's own output is wanted. The method counts 26 x 26 pooled
# values, those of windows that lie wholly inside the 54 x 54 map; Caffe's pooling adds a 27th row
# and column of windows that do not. So the map's last row and column, which no whole window
# reaches, are cut off first.
_NET = """
name: "AlexNetBank"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }
layer { name: "whole_windows" type: "Input" top: "whole_windows"
  input_param { shape { dim: 1 dim: 1 dim: 53 dim: 53 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 96 kernel_size: 11 stride: 4 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "relu1" }
layer { name: "norm1" type: "LRN" bottom: "relu1" top: "norm1"
  lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }
layer { name: "crop1" type: "Crop" bottom: "norm1" bottom: "whole_windows" top: "crop1"
  crop_param { axis: 2 offset: 0 } }
layer { name: "pool1" type: "Pooling" bottom: "crop1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 256 pad: 2 kernel_size: 5 group: 2 } }
"""


class AlexNetBank:
    """352 channels: 96 of conv1 (54 x 54 responses each), then 256 of conv2 (26 x 26 each).

    Method, section 1: the input is the centre 224 x 224 of the warped BGR image less MEAN; the
    outputs are taken before their ReLU. Each layer has half of the weight in the distance.
    """

    name = "alexnet"
    backend = "caffe"
    crop = CROP
    layers: tuple[Layer, ...] = (
        Layer("conv1", 96, 54 * 54, 0.5 / 96),
        Layer("conv2", 256, 26 * 26, 0.5 / 256),
    )

    def __init__(self, weights: str, resize: int, resolution: int | None) -> None:
        """Raises InputError if `weights` is unusable (see read_weights) or `resize` < 224."""
        if resize < CROP:
            raise InputError(f"the alexnet bank needs --resize of at least {CROP}, got {resize}")
        self.resize = resize
        self.resolution = resolution
        arrays = read_weights(weights)
        self.weights_checksum = checksum(arrays)
        caffe = import_caffe()
        with tempfile.TemporaryDirectory(prefix="sjft_") as folder:
            prototxt = os.path.join(folder, "alexnet_bank.prototxt")
            with open(prototxt, "w", encoding="ascii") as stream:
                stream.write(_NET)
            self._net = caffe.Net(prototxt, caffe.TEST)
        for name in ("conv1", "conv2"):
            self._net.params[name][0].data[...] = arrays[f"{name}_w"]
            self._net.params[name][1].data[...] = arrays[f"{name}_b"]

    def responses(self, images: np.ndarray) -> list[np.ndarray]:
        """Return [N x 96 x 2916, N x 256 x 676] float32 for N x 224 x 224 x 3 uint8 BGR images.

        Views of the net's blobs: the next call overwrites them.
        """
        count = len(images)
        data = self._net.blobs["data"]
        if data.shape[0] != count:
            data.reshape(count, 3, CROP, CROP)
            self._net.reshape()
        np.subtract(
            images.transpose(0, 3, 1, 2), np.array(MEAN, np.float32).reshape(3, 1, 1), out=data.data
        )
        self._net.forward()
        return [
            self._net.blobs[layer.name].data.reshape(count, layer.channels, layer.pixels)
            for layer in self.layers
        ]
