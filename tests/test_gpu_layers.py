"""Layers that have a cuDNN version, beside Caffe's own: in threads, with groups, in CPU mode."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from gpus import require_caffe_on_a_gpu
from sjft_tools.caffe_process import reason, run_process

pytest.importorskip("caffe._caffe", reason="needs pycaffe")
pytestmark = pytest.mark.gpu

# Convolutions of 1, 2 and 5 groups, whose handles are shared, and one layer of each other kind.
NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 3 dim: 10 dim: 12 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 10 kernel_size: 3 pad: 1 engine: ENGINE WEIGHTS } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 20 kernel_size: 3 pad: 1 group: 2 engine: ENGINE WEIGHTS } }
layer { name: "lrn" type: "LRN" bottom: "conv2" top: "lrn"
  lrn_param { local_size: 5 alpha: 0.1 beta: 0.75 engine: ENGINE } }
layer { name: "conv5" type: "Convolution" bottom: "lrn" top: "conv5"
  convolution_param { num_output: 10 kernel_size: 3 group: 5 engine: ENGINE WEIGHTS } }
layer { name: "relu" type: "ReLU" bottom: "conv5" top: "conv5" relu_param { engine: ENGINE } }
layer { name: "deconv" type: "Deconvolution" bottom: "conv5" top: "deconv"
  convolution_param { num_output: 6 kernel_size: 4 stride: 2 group: 2 engine: ENGINE WEIGHTS } }
layer { name: "tanh" type: "TanH" bottom: "deconv" top: "tanh" tanh_param { engine: ENGINE } }
layer { name: "pool" type: "Pooling" bottom: "tanh" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 engine: ENGINE } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "pool" top: "sigmoid"
  sigmoid_param { engine: ENGINE } }
layer { name: "softmax" type: "Softmax" bottom: "sigmoid" top: "softmax"
  softmax_param { engine: ENGINE } }
"""
WEIGHTS = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.3 }'

# Nets are built in the main thread, run in others, and destroyed in again another.
SCRIPT = """
import json, sys, threading
import numpy as np
import caffe

def mode():
    if sys.argv[1] == "gpu":
        caffe.set_device(0)
        caffe.set_mode_gpu()

def values(net):
    mode()
    for index, (name, blobs) in enumerate(net.params.items()):
        for which, blob in enumerate(blobs):
            drawn = np.random.default_rng([index, which]).normal(size=blob.data.shape)
            blob.data[...], blob.diff[...] = 0.3 * drawn, 0
    generator = np.random.default_rng(7)
    net.blobs["data"].data[...] = generator.normal(size=net.blobs["data"].data.shape)
    net.forward()
    net.blobs["softmax"].diff[...] = generator.normal(size=net.blobs["softmax"].data.shape)
    net.backward()
    found = {name: blob.data.copy() for name, blob in net.blobs.items()}
    found["of data"] = net.blobs["data"].diff.copy()
    for name, blobs in net.params.items():
        found.update((f"of {name} {i}", blob.diff.copy()) for i, blob in enumerate(blobs))
    return found

def build(engine):
    return caffe.Net(f"{engine}.prototxt", caffe.TRAIN)

def in_thread(function, *arguments):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments)))
    thread.start()
    thread.join()
    return found[0]

mode()
expected = values(build("CAFFE"))
nets = [build("CUDNN") for _ in range(3)]
runs = [values(nets[0]), in_thread(values, nets[1]), in_thread(values, nets[2])]
side_by_side = [threading.Thread(target=lambda net=net: runs.append(values(net))) for net in nets]
for thread in side_by_side:
    thread.start()
for thread in side_by_side:
    thread.join()
in_thread(nets.clear)
runs += [values(build("CUDNN")), in_thread(lambda: values(build("CUDNN")))]
print(json.dumps([
    {name: float(np.abs(run[name] - expected[name]).max() / np.abs(expected[name]).max())
     for name in expected} for run in runs
]))
"""


def differences(folder: Path, mode: str) -> list[dict[str, float]]:
    """Run SCRIPT; return what differs from Caffe's own kernels, relative, a dict for each run."""
    for engine in ("CAFFE", "CUDNN"):
        text = NET.replace("ENGINE", engine).replace("WEIGHTS", WEIGHTS)
        (folder / f"{engine}.prototxt").write_text(text)
    (folder / "script.py").write_text(SCRIPT)
    command = f"cd '{folder}' && exec '{sys.executable}' script.py {mode}"
    status, output = run_process(["sh", "-c", command], NVIDIA_TF32_OVERRIDE="0")
    if "has unknown engine" in output:
        pytest.skip("needs a Caffe built with CUDA, as one for a GPU is")
    assert status == 0, reason(status, output)
    found: list[dict[str, float]] = json.loads(output.splitlines()[-1])
    assert len(found) == 8 and all(len(run) == 19 for run in found)
    return found


def test_on_a_gpu(tmp_path: Path) -> None:
    require_caffe_on_a_gpu()
    for run in differences(tmp_path, "gpu"):
        assert all(math.isfinite(value) and value <= 1e-4 for value in run.values()), run


def test_in_cpu_mode(tmp_path: Path) -> None:
    """As on a machine without a GPU: nothing of cuDNN is called that needs one."""
    for run in differences(tmp_path, "cpu"):
        assert set(run.values()) == {0}, run
