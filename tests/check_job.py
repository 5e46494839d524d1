"""A small joint net with its solver and data bases, and what ``sjft check`` prints of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sjft.image_lmdb import ImageLmdb
from sjft_tools.checks.report import Report
from sjft_tools.checks.solver import check_solver
from sjft_tools.neighbour_lmdb_writer import write_neighbours

K = 6

SOLVER = """
net: "net.prototxt"
base_lr: 0.01 lr_policy: "fixed" max_iter: 2
test_iter: 2 test_interval: 100
snapshot_prefix: "snapshots/joint"
solver_mode: CPU
"""

NET = """
name: "joint"
layer {
  name: "data" type: "Python" top: "data" top: "target_label" top: "source_label"
  include { phase: TRAIN }
  python_param { module: "sjft.layers" layer: "JointDataLayer" param_str: '%(joint)s' }
}
layer {
  name: "data" type: "Python" top: "data" top: "target_label"
  include { phase: TEST }
  python_param { module: "sjft.layers" layer: "TargetDataLayer" param_str: '%(test)s' }
}
layer {
  name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { pool: AVE global_pooling: true }
}
layer {
  name: "halves" type: "Slice" bottom: "pool" top: "target" top: "source"
  include { phase: TRAIN }
  slice_param { axis: 0 }
}
layer {
  name: "fc_source" type: "InnerProduct" bottom: "source" top: "fc_source"
  include { phase: TRAIN }
  inner_product_param { num_output: 4 }
}
layer {
  name: "fc_target" type: "InnerProduct" bottom: "target" top: "fc_target"
  include { phase: TRAIN }
  inner_product_param { num_output: 3 }
}
layer {
  name: "loss" type: "Python" top: "loss"
  bottom: "fc_target" bottom: "target_label" bottom: "fc_source" bottom: "source_label"
  include { phase: TRAIN }
  loss_weight: 1
  python_param { module: "sjft.layers" layer: "MultiTaskLossLayer" param_str: '{}' }
}
layer {
  name: "fc_target" type: "InnerProduct" bottom: "pool" top: "fc_target"
  include { phase: TEST }
  inner_product_param { num_output: 3 }
}
layer {
  name: "relu" type: "ReLU" bottom: "fc_target" top: "fc_target"
  include { phase: TEST }
}
layer {
  name: "accuracy" type: "Accuracy" bottom: "fc_target" bottom: "target_label" top: "accuracy"
  include { phase: TEST }
}
"""

JOINT = {
    "target": "target",
    "source": "source",
    "neighbours": "neighbours",
    "batch_size": 6,
    "k0": 4,
    "crop": 32,
}


def write_job(folder: Path, net: str = NET, solver: str = SOLVER, **joint: object) -> None:
    """Write the solver and its net; `joint` replaces keys of JointDataLayer's param_str."""
    test = {"target": "target", "batch_size": 5, "crop": 32}
    params = {"joint": json.dumps({**JOINT, **joint}), "test": json.dumps(test)}
    (folder / "net.prototxt").write_text(net % params)
    (folder / "solver.prototxt").write_text(solver)
    (folder / "snapshots").mkdir(exist_ok=True)


def make_job(folder: Path, make_lmdb: Callable[..., str]) -> Path:
    """Write data bases, a net and a solver that train into `folder`, that of `make_lmdb`."""
    target = ImageLmdb(make_lmdb("target", 12, classes=3))
    source = ImageLmdb(make_lmdb("source", 20, classes=4, seed=1))
    indices = np.argsort(np.random.default_rng(0).random((12, 20)), axis=1)[:, :K]
    distances = np.sort(np.random.default_rng(1).random((12, K)), axis=1)
    path = str(folder / "neighbours")
    write_neighbours(path, target, source, indices, distances, {"bank": "gabor"})
    target.close()
    source.close()
    write_job(folder)
    return folder


def failures(output: str) -> list[str]:
    """Return the lines of the checks that failed; each must have a remedy under it."""
    lines = output.splitlines()
    failed = [i for i, line in enumerate(lines) if line.startswith("FAIL")]
    for i in failed:
        rest = (line for line in lines[i + 1 :])
        assert next(line for line in rest if not line.startswith("       ")).startswith("      -> ")
    return [lines[i] for i in failed]


def check(solver: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the checks of a solver print, without those of the machine, which take longer."""
    capsys.readouterr()
    report = Report()
    check_solver(report, solver)
    output = capsys.readouterr().out
    assert report.failures == len(failures(output))
    return output


def check_with_one_failure(solver: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Check a solver, which must fail once; return that line and the rest."""
    output = check(solver, capsys)
    assert len(failures(output)) == 1, output
    return output[output.index("FAIL") :]
