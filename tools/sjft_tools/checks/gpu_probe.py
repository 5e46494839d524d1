"""Run by the check of a GPU: a small net on the CPU and on the GPU, and their differences.

    python -m sjft_tools.checks.gpu_probe DEVICE

Prints a line of JSON: {"errors": {blob: largest difference over largest value}}.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import numpy as np

from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

# On the CPU it is computed by engine CAFFE, on the GPU by either.
NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 8 dim: 13 dim: 13 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 3 stride: 2 pad: 1 engine: %(engine)s
    weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "relu" relu_param { engine: %(engine)s } }
layer { name: "pool" type: "Pooling" bottom: "relu" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 engine: %(engine)s } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  softmax_param { engine: %(engine)s } }
"""
BLOBS = ("conv", "score", "loss")


def build(engine: str) -> Any:
    """Return the net with all its layers of one engine."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(NET % {"engine": engine})
        file.flush()
        return caffe.Net(file.name, caffe.TRAIN)


def values(net: Any, weights: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """Run the net forward and backward on fixed images; return its blobs and gradients."""
    generator = np.random.default_rng(7)
    net.blobs["data"].data[...] = generator.normal(size=net.blobs["data"].data.shape)
    net.blobs["label"].data[...] = generator.integers(0, 5, size=4)
    for name, arrays in weights.items():
        for blob, array in zip(net.params[name], arrays):
            blob.data[...] = array
    net.forward()
    net.backward()
    found = {name: net.blobs[name].data.copy() for name in BLOBS}
    found["gradient of data"] = net.blobs["data"].diff.copy()
    for name in weights:
        found[f"gradient of {name}"] = net.params[name][0].diff.copy()
    return found


def main() -> None:
    """Compare the CPU with the GPU, once without and once with cuDNN."""
    caffe.set_device(int(sys.argv[1]))
    caffe.set_mode_cpu()
    net = build("CAFFE")
    weights = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    expected = values(net, weights)
    caffe.set_mode_gpu()
    errors = {}
    for engine in ("CAFFE", "CUDNN"):
        for name, array in values(build(engine), weights).items():
            largest = np.abs(expected[name]).max()
            errors[f"{name} ({engine})"] = float(np.abs(array - expected[name]).max() / largest)
    print(json.dumps({"errors": errors}))


if __name__ == "__main__":
    main()
