"""benchmarks/gpu.py rehearsed on the CPU; its steps in the rehearsal's sizes on a GPU."""

from __future__ import annotations

import json
import os
import shlex
import shutil
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
from processes import run, survivors

pytest.importorskip("torch")
pytest.importorskip("numba")

BENCHMARKS = REPO / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "gpu_parts")]

import gpu  # noqa: E402
from sizes import REHEARSAL  # noqa: E402

# Parts that are rehearsed side by side, of about one length.
SIDES = (["layers", "describing", "times"], ["tests", "net", "training", "matching"])
#: part -> figures that it must leave, each with what it must be
KEYS: dict[str, dict[str, Any]] = {
    "tests": {"python": list, "outcomes": dict},
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
TABLES = {
    "tests": 1,
    "net": 6,
    "layers": 3,
    "training": 3,
    "times": 4,
    "matching": 5,
    "describing": 1,
}

Finished = subprocess.CompletedProcess


def command(out: Path, *words: str) -> Finished[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )


def rehearse(out: Path, parts: list[str]) -> Finished[str]:
    # Caffe's Python has a PYTHONPATH of its own, as a bundle's has.
    own = f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}"
    words = ["--rehearse", "--caffe-python", shlex.join(["env", own, sys.executable])]
    if "net" in parts:
        made = command(out, *words, "--make-reference", str(out / "reference.npz"))
        assert made.returncode == 0, made.stdout
        words += ["--reference", str(out / "reference.npz")]
    return command(out, *words, "--parts", ",".join(parts))


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
        "if child := os.fork():\n"
        "    print(child, flush=True)\n"
        "time.sleep(600)\n"
    )
    log, wait = tmp_path / "endless.log", gpu._wait

    def wait_once_begun(process: subprocess.Popen, seconds: float) -> int | None:
        until = time.monotonic() + 120
        while not log.read_text().endswith("\n"):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        return wait(process, seconds)

    monkeypatch.setattr(gpu, "_wait", wait_once_begun)
    monkeypatch.setattr(gpu, "STEPS", tmp_path)
    monkeypatch.setattr(gpu, "_GRACE_S", 1)
    pythons = {"caffe": [sys.executable]}
    found = gpu.run_step(gpu.Step("endless.py", "caffe", 1), "endless", {}, pythons, tmp_path, 2)
    assert found["error"].startswith("not done after 3 s")
    assert found["values"] == {"some": 1}
    assert not survivors([int(log.read_text())])


def test_parts_are_named_alone_or_in_groups(tmp_path: Path) -> None:
    assert gpu._parts("speed,net,times") == ["training", "times", "net"]
    process = command(tmp_path, "--parts", "speeed")
    assert process.returncode == 2
    assert "no part speeed: expected some of correct, speed, retrieval, tests," in process.stdout


def test_all_parts_fit_into_25_minutes() -> None:
    assert sum(step.seconds for steps in gpu.PARTS.values() for step in steps) <= 25 * 60
    assert sorted(name for names in gpu.GROUPS.values() for name in names) == sorted(gpu.PARTS)
    assert sorted(REHEARSAL) == sorted(gpu.PARTS) == sorted(KEYS)


def test_make_gpu_without_a_gpu_ends_before_it_begins(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    words = run(make, "-C", REPO, "gpu", status=2, MAKEFLAGS="", PATH=tmp_path)
    assert "make gpu: error: nvidia-smi lists no GPU here; run this on a machine with" in words
    assert "venv" not in words


@pytest.mark.parametrize("part", ["net", "layers", "matching", "describing"])
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
    process = command(tmp_path, "--parts", "describing,times")
    assert process.returncode == 1
    assert "the backend cuda needs a GPU and a torch that can use it" in process.stdout
    assert "times-bounds FAILED" in process.stdout
    assert "times-layer_times FAILED: status 1, caffe time: " in process.stdout
