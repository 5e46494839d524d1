"""benchmarks/gpu.py rehearsed on the CPU; its steps in the rehearsal's sizes on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import REPO
from gpus import require_caffe_on_a_gpu, why_no_gpu

pytest.importorskip("torch")
pytest.importorskip("numba")

BENCHMARKS = REPO / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "gpu_parts")]

import gpu  # noqa: E402
import layer_costs  # noqa: E402
import lockstep  # noqa: E402
import memory  # noqa: E402
import summary  # noqa: E402
from sizes import REHEARSAL  # noqa: E402
from training import batch_for  # noqa: E402

import caffe  # noqa: E402

# Parts that are rehearsed side by side, of about one length.
SIDES = (["layers", "describing", "times"], ["net", "training", "matching"])
#: part -> figures that it must leave, each with what it must be
KEYS: dict[str, dict[str, Any]] = {
    "net": {"errors": list, "worst": dict, "whole": list, "reference": dict},
    "layers": {"losses": dict, "batches_equal": True, "worker_killed": True, "resumed": list},
    "training": {"measured": dict, "rates": dict, "fed": float, "ratios": dict, "largest": dict},
    "times": {"rates": dict, "measured": dict, "totals": dict, "bound_seconds": float},
    "matching": {
        "share": float,
        "differing": 0,
        "authors": dict,
        "stages": dict,
        "sources_done": 3000,
    },
    "describing": {"rates": dict, "errors": list},
}
TABLES = {"net": 6, "layers": 3, "training": 3, "times": 4, "matching": 5, "describing": 1}

Finished = subprocess.CompletedProcess


def command(out: Path, *words: str) -> Finished[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )


def rehearse(out: Path, parts: list[str]) -> Finished[str]:
    words = ["--rehearse", "--parts", ",".join(parts)]
    if "net" in parts:
        made = command(out, "--rehearse", "--make-reference", str(out / "reference.npz"))
        assert made.returncode == 0, made.stdout
        words += ["--reference", str(out / "reference.npz")]
    return command(out, *words)


@pytest.fixture(scope="module")
def rehearsals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Finished[str]]]:
    """What the command left for each part, and how it ended."""
    with ThreadPoolExecutor(len(SIDES)) as pool:
        begun: list[tuple[list[str], Path, Future]] = []
        for side in SIDES:
            out = tmp_path_factory.mktemp("out")
            begun.append((side, out, pool.submit(rehearse, out, side)))
        return {part: (out, future.result()) for side, out, future in begun for part in side}


@pytest.mark.parametrize("part", gpu.PARTS)
def test_rehearsal(part: str, rehearsals: dict[str, tuple[Path, Finished[str]]]) -> None:
    out, process = rehearsals[part]
    assert process.returncode == 0, process.stdout
    found = json.loads((out / f"{part}.json").read_text())
    assert not [step for step in found["steps"] if "error" in step]
    values: dict[str, Any] = {}
    for step in found["steps"]:
        values.update(step["values"])
    for key, expected in KEYS[part].items():
        if isinstance(expected, type):
            assert isinstance(values[key], expected)
            assert values[key]
        else:
            assert values[key] == expected
    assert len(found["tables"]) == TABLES[part]
    report = (out / "report.md").read_text()
    assert f"## {part}\n" in report
    for table in found["tables"]:
        assert table["rows"]
        assert table["title"] in report
        assert table["title"] in process.stdout


def test_the_largest_batch_fits(rehearsals: dict[str, tuple[Path, Finished[str]]]) -> None:
    out, _ = rehearsals["training"]
    largest = json.loads((out / "training.json").read_text())["steps"][0]["values"]["largest"]
    most = REHEARSAL["training"]["most_mib"]
    batch, taken = largest["batch"], largest["dummy"]["mib"]
    assert batch > REHEARSAL["training"]["batch"]
    assert taken <= most < taken * (batch + 8) / batch
    assert largest["tries"] == []
    assert largest["joint"]["waited"]


def test_the_two_curves_are_one_on_one_device(
    rehearsals: dict[str, tuple[Path, Finished[str]]],
) -> None:
    out, _ = rehearsals["layers"]
    curves = np.genfromtxt(out / "curves.csv", delimiter=",", skip_header=1)
    assert curves.shape == (REHEARSAL["layers"]["iterations"], 3)
    assert (curves[:, 1] == curves[:, 2]).all()
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    process = command(
        tmp_path, "--rehearse", "--parts", "describing,times", "--torch-python", "/nowhere/python"
    )
    assert process.returncode == 1
    for part, step in (("describing", "describing"), ("times", "bounds")):
        words = f"{part}: {part}-{step} FAILED: /nowhere/python cannot be run: No such file"
        assert words in process.stdout
    assert "The ten slowest layers" in process.stdout
    assert process.stdout.endswith("failed: describing, times\n")
    found = json.loads((tmp_path / "describing.json").read_text())
    assert found["steps"][0]["error"].startswith("/nowhere/python cannot be run")
    assert "describing-describing failed: /nowhere" in (tmp_path / "report.md").read_text()


def test_a_step_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text(
        "import os, pathlib, sys, time\n"
        'pathlib.Path(sys.argv[2]).write_text(\'{"values": {"some": 1}}\')\n'
        "child = os.fork()\n"
        "print(child, flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(gpu, "STEPS", tmp_path)
    monkeypatch.setattr(gpu, "_GRACE_S", 1)
    pythons = {"caffe": [sys.executable]}
    found = gpu.run_step(gpu.Step("endless.py", "caffe", 1), "endless", {}, pythons, tmp_path, 2)
    assert found["error"].startswith("not done after 3 s")
    assert found["values"] == {"some": 1}
    child = int((tmp_path / "endless.log").read_text().split()[0])
    until = time.monotonic() + 20
    while lives(child) and time.monotonic() < until:  # a kill takes effect in a while
        time.sleep(0.05)
    assert not lives(child)


def lives(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_parts_are_named_alone_or_in_groups(tmp_path: Path) -> None:
    assert gpu._parts("speed,net,times") == ["training", "times", "net"]
    process = command(tmp_path, "--parts", "speeed")
    assert process.returncode == 2
    assert "no part speeed: expected some of correct, speed, retrieval, net" in process.stdout


def test_all_parts_fit_into_25_minutes() -> None:
    assert sum(step.seconds for steps in gpu.PARTS.values() for step in steps) <= 25 * 60
    assert sorted(name for names in gpu.GROUPS.values() for name in names) == sorted(gpu.PARTS)
    assert sorted(REHEARSAL) == sorted(gpu.PARTS) == sorted(KEYS)


def test_a_largest_batch() -> None:
    # 1,000 MiB and 100 for each image
    assert batch_for(80_000, 18, 2800, 4600) == 790
    assert batch_for(80_150, 18, 2800, 4600) == 790
    assert batch_for(80_200, 18, 2800, 4600) == 792


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


@pytest.mark.parametrize("part", [name for name in gpu.PARTS if name not in ("training", "times")])
def test_a_part_on_a_gpu(part: str, tmp_path: Path) -> None:
    require_caffe_on_a_gpu()
    pythons = {name: [sys.executable] for name in ("caffe", "torch")}
    settings = {"out": str(tmp_path), "gpu": 0, "caffe": ["caffe"], "reference": None}
    settings = {**settings, "make_reference": False, **REHEARSAL[part]}
    found = gpu.run_part(part, settings, pythons, tmp_path, pace=1.0)
    assert not [step for step in found["steps"] if "error" in step]


def test_a_run_without_a_gpu_says_so(tmp_path: Path) -> None:
    if not why_no_gpu():
        pytest.skip("needs a machine without a GPU")
    process = command(tmp_path, "--parts", "describing,times", "--minutes", "1")
    assert process.returncode == 1
    assert "the backend cuda needs a GPU and a torch that can use it" in process.stdout
    assert "times-bounds FAILED" in process.stdout
    assert "times-layer_times FAILED: status 1, caffe time: " in process.stdout
