"""The AlexNet bank by Caffe, on the CPU or a GPU."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft_tools.banks.alexnet import CROP, MEAN, WHOLE_WINDOWS, AlexNetBank
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.pycaffe import import_caffe

_BATCH = 8

# The ReLU is not in place, for conv1's own output is wanted. Caffe's own convolutions, because
# cuDNN's take TensorFloat-32, which keeps 10 bits of a response (cuDNN, cudnnMathType_t).
_NET = f"""
name: "AlexNetBank"
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: {_BATCH} dim: 3 dim: {CROP} dim: {CROP} }} }} }}
layer {{ name: "whole_windows" type: "Input" top: "whole_windows"
  input_param {{ shape {{ dim: 1 dim: 1 dim: {WHOLE_WINDOWS} dim: {WHOLE_WINDOWS} }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 96 kernel_size: 11 stride: 4 engine: CAFFE }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "relu1" }}
layer {{ name: "norm1" type: "LRN" bottom: "relu1" top: "norm1"
  lrn_param {{ local_size: 5 alpha: 0.0001 beta: 0.75 }} }}
layer {{ name: "crop1" type: "Crop" bottom: "norm1" bottom: "whole_windows" top: "crop1"
  crop_param {{ axis: 2 offset: 0 }} }}
layer {{ name: "pool1" type: "Pooling" bottom: "crop1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}
layer {{ name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param {{ num_output: 256 pad: 2 kernel_size: 5 group: 2 engine: CAFFE }} }}
"""

# Caffe built without CUDA ends its process when it is asked for a GPU.
_PROBE = "import caffe; caffe.set_device(0); caffe.set_mode_gpu()"


class CaffeAlexNetBank(AlexNetBank):
    """One net, which one thread at a time runs; Caffe's BLAS may use all cores meanwhile."""

    batch = _BATCH

    def __init__(
        self, weights: str, resize: int, resolution: int | None, backend: str = "caffe"
    ) -> None:
        """`backend`: "caffe" or "caffe-gpu". Raises InputError as AlexNetBank, or without a GPU."""
        self.backend = backend
        self._lock = threading.Lock()
        super().__init__(weights, resize, resolution)

    def _load(self, arrays: dict[str, np.ndarray]) -> None:
        self._caffe = import_caffe()
        _use_several_threads(self._caffe)
        if self.backend == "caffe-gpu":
            _require_gpu()
        self._choose_mode()
        with tempfile.TemporaryDirectory(prefix="sjft_") as folder:
            prototxt = os.path.join(folder, "alexnet_bank.prototxt")
            with open(prototxt, "w", encoding="ascii") as stream:
                stream.write(_NET)
            self._net = self._caffe.Net(prototxt, self._caffe.TEST)
        for name in ("conv1", "conv2"):
            self._net.params[name][0].data[...] = arrays[f"{name}_w"]
            self._net.params[name][1].data[...] = arrays[f"{name}_b"]

    def _choose_mode(self) -> None:
        """Caffe has a mode for every thread, at first the CPU; another bank may have changed it."""
        if self.backend == "caffe-gpu":
            self._caffe.set_mode_gpu()
        else:
            self._caffe.set_mode_cpu()

    def _filter(self, images: np.ndarray) -> list[np.ndarray]:
        mean = np.array(MEAN, np.float32).reshape(3, 1, 1)
        with self._lock:
            self._choose_mode()
            blobs = self._net.blobs
            np.subtract(images.transpose(0, 3, 1, 2), mean, out=blobs["data"].data)
            self._net.forward()
            return [
                blobs[layer.name].data.reshape(self.batch, layer.channels, layer.pixels).copy()
                for layer in self.layers
            ]


def _use_several_threads(caffe: Any) -> None:
    """Have Caffe's OpenBLAS, if that is its BLAS, use two threads at least.

    It divides the convolutions' long sums in one way for one thread and in another way for any
    greater number, so that responses would depend on it in their last digits.
    """
    library = ctypes.CDLL(caffe._caffe.__file__)  # finds what it is linked with, too
    with contextlib.suppress(AttributeError):
        if library.openblas_get_num_threads() < 2:
            library.openblas_set_num_threads(2)


def _require_gpu() -> None:
    status, output = run_process([sys.executable, "-c", _PROBE])
    if status != 0:
        raise InputError(
            f"the backend caffe-gpu needs a Caffe built with CUDA and a GPU, and Caffe says: "
            f"{reason(status, output)}"
        )
