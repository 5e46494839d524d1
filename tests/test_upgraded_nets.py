"""Nets that `sjft upgrade-prototxt` made, in Caffe: they train, and compute what the fork's do."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import caffe
import original_fork as fork
from conftest import SHARED, run_sjft
from processes import caffe_train
from sjft_tools.net_files import read_net
from sjft_tools.netscope.rules import netscope_problems
from sjft_tools.netscope.view import view

SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 display: 1
momentum: 0.9 snapshot_prefix: "x" random_seed: 1 solver_mode: CPU snapshot_after_train: false
"""


def test_a_joint_net_upgrades_and_trains(tmp_path):
    fork.import_files(tmp_path)
    said = fork.upgrade(
        tmp_path,
        fork.joint_net(),
        *("--target", "target_lmdb", "--target", "target_lmdb_v2", "--source", "source_lmdb"),
        *("--neighbours", "neighbours_lmdb", "--levels", "levels.json"),
    )
    for line in (
        "RefinedBoostedJointTrainingData 'data' became JointDataLayer",
        "  target.txt: 'sjft import-original target-images' reads it",
        "SplitData 'split_label' is gone: the data layer parts the labels",
        "5 Residual became Eltwise SUM, their two tops one blob",
        "SplitData 'split_data' became Slice",
        "MergeData 'merge_data' became Concat",
    ):
        assert f"{line}\n" in said
    net = read_net(str(tmp_path / "net.prototxt"))
    assert net.name == "ResNet_joint_training"
    assert fork.param_str(net) == {
        "target": ["target_lmdb", "target_lmdb_v2"],
        "source": "source_lmdb",
        "neighbours": "neighbours_lmdb",
        "batch_size": 4,
        "k0": 2,
        "levels": "levels.json",
        "min_source_per_class": 0,
        "resize": 36,
        "crop": 32,
        "mirror": True,
        "mean": [104, 117, 123],
        "seed": 1,
    }
    assert list(net.layer[0].top) == ["data", "target_label", "source_label"]
    assert netscope_problems((tmp_path / "net.prototxt").read_text()) == []
    assert view(net, "net", "TRAIN", {}).unlike_caffe() == []
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    assert "FAIL" not in run_sjft("check", "solver.prototxt", cwd=tmp_path)
    log = caffe_train(tmp_path)
    losses = [float(x) for x in re.findall(r"Iteration \d+.*, loss = (\S+)", log)]
    assert len(losses) >= 3 and np.isfinite(losses).all()


def literal(net: caffe.Net, image: np.ndarray, units: tuple[str, ...]) -> np.ndarray:
    """pool5 of the fork's wiring, in NumPy: what its Residual layers compute, by their source."""

    def convolve(x: np.ndarray, name: str) -> np.ndarray:
        weights = net.params[name][0].data
        kernel = weights.shape[2]
        pad, stride = kernel // 2, STRIDES.get(name, 1)
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], weights)

    def activate(x: np.ndarray, name: str) -> np.ndarray:
        mean, variance, factor = (blob.data for blob in net.params[f"bn{name}"])
        gamma, beta = (blob.data[:, None, None] for blob in net.params[f"scale{name}"])
        x = (x - (mean / factor)[:, None, None]) / np.sqrt(
            (variance / factor)[:, None, None] + 1e-5
        )
        return np.maximum(x * gamma + beta, 0)

    x = activate(convolve(image, "conv1"), "_conv1")
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    total = x
    for name in units:
        res = f"res{name}"
        identity = convolve(x, f"{res}_branch1") if name.endswith("a") else total
        inner = x
        for branch in ("2a", "2b"):
            inner = convolve(inner, f"{res}_branch{branch}")
            inner = activate(inner, f"{name}_branch{branch}")
        total = identity + convolve(inner, f"{res}_branch2c")
        x = activate(total, name)
    return x.mean((2, 3), keepdims=True)


STRIDES = {"conv1": 2, "res3a_branch1": 2, "res3a_branch2a": 2}


def test_an_upgraded_net_computes_what_the_fork_does(tmp_path):
    """The fork's Residual runs on GPUs alone: a literal reading of it stands for it."""
    fork.upgrade(tmp_path, fork.joint_net())
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            blob.data[...] = rng.normal(0, 0.5, blob.data.shape)
            if name.startswith("bn") and i:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    image = rng.normal(0, 1, (3, 3, 32, 32)).astype(np.float32)
    # DummyData fills its tops anew: begin behind it.
    net.blobs["data"].data[...] = image
    net.forward(start="conv1")
    expected = literal(net, image, ("2a", "2b", "2c", "3a", "3b"))
    np.testing.assert_allclose(net.blobs["pool5"].data, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(net.blobs["pool5_target"].data, net.blobs["pool5"].data[:2])
    np.testing.assert_array_equal(net.blobs["pool5_source"].data, net.blobs["pool5"].data[2:])


def test_the_152_layer_net_keeps_the_published_names(tmp_path):
    reference = SHARED / "reference/param_shapes.json"
    if not reference.exists():
        pytest.skip("needs ../shared/reference")
    text = (
        'name: "r"\n'
        + fork.data(batch_size=18, crop=224, resize=256)
        + fork.trunk((3, 8, 36, 3), 64, 7, (7, 64))
        + fork.tail(9, 67, 1000)
    )
    fork.upgrade(tmp_path, text)
    made = view(read_net(str(tmp_path / "net.prototxt")), "net", "TRAIN", {})
    assert made.unlike_caffe() == []
    published = {
        layer["name"]: [tuple(shape) for shape in layer["param_shapes"]]
        for layer in json.loads(reference.read_text())["sjft_resnet152"]["layers"]
    }
    ours = dict(made.built.params)
    ours["fc67"] = ours.pop("fc_mine")
    trunk = {name: shapes for name, shapes in published.items() if not name.startswith("fc")}
    assert {name: ours[name] for name in trunk} == trunk
    assert made.built.shapes["pool5_source"] == (9, 2048, 1, 1)
