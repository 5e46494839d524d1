"""Parts of benchmarks/gpu.py: what layers cost and need, where two nets differ, what tests find."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import REPO

sys.path[:0] = [str(REPO / "benchmarks"), str(REPO / "benchmarks" / "gpu_parts")]

import gpu  # noqa: E402
import layer_costs  # noqa: E402
import lockstep  # noqa: E402
import memory  # noqa: E402
import summary  # noqa: E402
from gpu_tests import MARK, marked_files  # noqa: E402
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


SOME = """
import pytest


@MARKED
def test_right() -> None:
    pass


@MARKED
def test_wrong() -> None:
    raise AssertionError


@MARKED
@pytest.mark.parametrize("number", [1, 2])
def test_skipped(number: int) -> None:
    pytest.skip("needs more")


def test_without_the_mark() -> None:
    raise AssertionError
"""


def test_a_test_that_fails_fails_its_part(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SOME.replace("MARKED", f"pytest.mark.{MARK}"))
    (tmp_path / "test_other.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers = {MARK}\n")
    pythons = {name: [sys.executable] for name in ("caffe", "torch")}
    found = {}
    for name in ("some", "other"):
        settings = {"files": [str(tmp_path / f"test_{name}.py")]}
        found[name] = gpu.run_part("tests", settings, pythons, tmp_path, pace=5.0)
        assert len(found[name]["tables"]) == 1  # both Pythons are one
    step = found["some"]["steps"][0]
    assert step["error"].startswith("status 1, tests failed: test_some.py::test_wrong, see ")
    assert step["values"]["outcomes"] == {"passed": 1, "failed": 1, "skipped": 2}
    assert ["skipped: needs more", 2] in step["tables"][0]["rows"]
    step = found["other"]["steps"][0]
    assert step["error"].startswith("status 1, tests failed: test_other.py, see ")


def test_a_python_without_pytest_leaves_the_tests_out(tmp_path: Path) -> None:
    bare = [sys.executable, "-ISc", "import sys; step = sys.argv[2]; del sys.argv[1:3]; exec(step)"]
    found = gpu.run_part("tests", {"files": None}, {"caffe": bare, "torch": bare}, tmp_path, 5.0)
    assert [table["rows"] for table in found["tables"]] == [
        [["left out", "this Python has no pytest"]]
    ]
    assert not [step for step in found["steps"] if "error" in step]


def test_all_files_with_marked_tests_are_found() -> None:
    found = {file.name for file in marked_files()}
    assert {"test_gpu_commands.py", "test_gpu_layers.py", "test_gpu_matching.py"} <= found
    assert {"test_banks.py", "test_histogram_torch.py", "test_matching.py"} <= found
    assert not {"test_gpu_benchmark.py", Path(__file__).name} & found
