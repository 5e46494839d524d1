"""Parts of benchmarks/gpu.py: what layers cost and need, and where two nets differ."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import REPO

sys.path[:0] = [str(REPO / "benchmarks"), str(REPO / "benchmarks" / "gpu_parts")]

import layer_costs  # noqa: E402
import lockstep  # noqa: E402
import memory  # noqa: E402
import summary  # noqa: E402
from training import batch_for  # noqa: E402

import caffe  # noqa: E402

SMALL = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def small(folder: Path) -> caffe.Net:
    file = folder / "small.prototxt"
    file.write_text("force_backward: true\n" + SMALL)
    net = caffe.Net(str(file), caffe.TRAIN)
    rng = np.random.default_rng(1)
    net.blobs["data"].data[...] = rng.random((2, 3, 8, 8))
    for blobs in net.params.values():
        blobs[0].data[...] = rng.normal(size=blobs[0].data.shape)
    return net


def test_a_largest_batch() -> None:
    # 1,000 MiB and 100 for each image
    assert batch_for(80_000, 18, 2800, 4600) == 790
    assert batch_for(80_150, 18, 2800, 4600) == 790
    assert batch_for(80_200, 18, 2800, 4600) == 792


def test_costs_of_layers(tmp_path: Path) -> None:
    found = layer_costs.costs(small(tmp_path))
    outputs, inputs, weights = 2 * 4 * 6 * 6, 2 * 3 * 8 * 8, 4 * 3 * 9 + 4
    assert found["conv1"]["forward"] == (2 * outputs * 27, 4 * (outputs + inputs + weights))
    assert found["conv1"]["backward"] == (2 * outputs * 27, 4 * (outputs + inputs + 2 * weights))
    outputs, inputs, weights = 2 * 5, 2 * 144, 5 * 144 + 5
    assert found["fc"]["forward"] == (2 * outputs * 144, 4 * (outputs + inputs + weights))
    moved = 4 * (outputs + 2 * inputs + 2 * weights)
    assert found["fc"]["backward"] == (4 * outputs * 144, moved)
    assert found["relu"]["forward"].flops == 0
    assert found["fc"]["forward"].seconds(1e9, 1e6) == found["fc"]["forward"].bytes / 1e6
    assert found["fc"]["forward"].seconds(1e3, 1e9) == found["fc"]["forward"].flops / 1e3


def test_memory_of_training(tmp_path: Path) -> None:
    found = memory.needed_bytes(small(tmp_path))
    data, conv, fc = 2 * 3 * 8 * 8, 2 * 4 * 6 * 6, 2 * 5
    # relu works in place; the input has no gradients
    assert found == {
        "blobs": 4 * (data + 2 * conv + 2 * fc),
        "layers": 0,
        "weights": 12 * (4 * 28 + 5 * 145),
    }
    normed = SMALL.replace('top: "fc"', 'top: "scores"').replace(
        'layer { name: "fc"',
        '''
layer { name: "apart" type: "BatchNorm" bottom: "conv1" top: "apart" }
layer { name: "bn" type: "BatchNorm" bottom: "apart" top: "apart" }
layer { name: "scale" type: "Scale" bottom: "apart" top: "apart" }
layer { name: "pool" type: "Pooling" bottom: "apart" top: "pool"
  pooling_param { kernel_size: 6 } }
layer { name: "again" type: "Eltwise" bottom: "apart" bottom: "conv1" top: "again" }
layer { name: "fc"''',
    )
    (tmp_path / "normed.prototxt").write_text(normed)
    found = memory.needed_bytes(caffe.Net(str(tmp_path / "normed.prototxt"), caffe.TRAIN))
    pool, readers = 2 * 4, 3 + 2  # of conv1 and of apart
    assert found["blobs"] == 4 * (data + 6 * conv + readers * conv + 2 * pool + 2 * fc)
    assert found["layers"] == 4 * (2 * conv + 3 * conv + conv + pool)


def test_lockstep_finds_the_layer_that_is_off_and_no_other(tmp_path: Path) -> None:
    first, second = small(tmp_path), small(tmp_path)
    second.params["conv1"][0].data[...] *= 1.01

    def run(one: caffe.Net, other: caffe.Net) -> list[lockstep.Error]:
        found = lockstep.forward(one, other, lambda number: None)
        one.blobs["fc"].diff[...] = 1
        return found + lockstep.backward(one, other, lambda number: None)

    errors = run(first, second)
    off = {(error.layer, error.what) for error in errors if error.relative}
    assert off == {("conv1", "forward"), ("conv1", "backward")}
    assert [e.relative for e in errors if e.relative] == pytest.approx([0.01, 0.01], rel=0.05)
    rows = {row[0]: row for row in lockstep.by_type(errors)}
    assert rows["InnerProduct"][1:] == [1, 0, 0, 0, 0, 0, 0]
    assert rows["Convolution"][2] > 0.005
    assert rows["Input"][4:] == [""] * 4
    assert lockstep.relative_error(np.ones(3), np.zeros(3)) == float("inf")


def test_a_reference_tells_nets_apart(tmp_path: Path) -> None:
    nets = [small(tmp_path), small(tmp_path), small(tmp_path)]
    nets[1].params["fc"][1].data[...] += 0.5
    nets[2].params["fc"][0].data[0, 0] += 1
    notes = []
    for net in nets:
        net.forward()
        net.blobs["fc"].diff[...] = 1
        net.backward()
        notes.append(summary.of(net))
    summary.save(str(tmp_path / "reference.npz"), notes[0])
    noted = summary.load(str(tmp_path / "reference.npz"))
    assert set(summary.errors(notes[0], noted).values()) == {0.0}
    assert summary.errors(notes[1], noted)["values, greatest"] > 0
    with pytest.raises(SystemExit, match="of another net, batch, weights or images"):
        summary.errors(notes[2], noted)
