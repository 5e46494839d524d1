"""``sjft check``: all green on a small joint net, and a line with a remedy for every fault."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
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


@pytest.fixture
def job(tmp_path: Path, make_lmdb: Callable[..., str]) -> Path:
    """A folder with data bases, a net and a solver that train."""
    target = ImageLmdb(make_lmdb("target", 12, classes=3))
    source = ImageLmdb(make_lmdb("source", 20, classes=4, seed=1))
    indices = np.argsort(np.random.default_rng(0).random((12, 20)), axis=1)[:, :K]
    distances = np.sort(np.random.default_rng(1).random((12, K)), axis=1)
    path = str(tmp_path / "neighbours")
    write_neighbours(path, target, source, indices, distances, {"bank": "gabor"})
    target.close()
    source.close()
    write_job(tmp_path)
    return tmp_path


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


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what importing pycaffe sets in the environment from later tests."""
    monkeypatch.setenv("GLOG_minloglevel", "1")


@pytest.fixture
def only_failure(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """A function that checks the job, which must fail once; it returns that line and the rest."""
    monkeypatch.chdir(job)

    def run() -> str:
        output = check("solver.prototxt", capsys)
        assert len(failures(output)) == 1, output
        return output[output.index("FAIL") :]

    return run


def test_environment() -> None:
    output = run_sjft("check")
    for name in ("caffe command", "Caffe's version", "Python layers", "sjft.layers", "pycaffe"):
        assert f"ok    {name}: " in output


def test_all_green(job: Path) -> None:
    output = run_sjft("check", "solver.prototxt", cwd=job)
    assert not failures(output) and "skip" not in output
    assert "ok    image LMDB target: 12 images, labels 0 to 2" in output
    assert output.count("image LMDB target:") == 1  # named twice, opened once
    labels = "'fc_target' has 3 outputs, the target labels of target go up to 2"
    assert f"ok    labels of 'fc_target' in the train net: {labels}" in output
    assert f"ok    labels of 'fc_target' in the test net: {labels}" in output
    assert "ok    Caffe builds the solver: with all its nets, on the CPU" in output
    assert "ok    losses of the train net, with weights: loss (1)" in output


def drop_from(variable: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the folders that contain `file` off the path list `variable`."""
    folders = os.environ[variable].split(os.pathsep)
    kept = [folder for folder in folders if not Path(folder, file).exists()]
    monkeypatch.setenv(variable, os.pathsep.join(kept))


def test_no_caffe_command(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_from("PATH", "caffe", monkeypatch)
    output = run_sjft("check", status=1)
    assert "FAIL  caffe command: there is no command 'caffe' on PATH" in output
    assert ". ./env.sh" in output


def test_layers_missing_inside_caffe(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_from("PYTHONPATH", "sjft/layers.py", monkeypatch)
    # With the venv's python3 first on PATH the interpreter inside caffe takes the venv for its own.
    drop_from("PATH", "sjft", monkeypatch)
    output = run_sjft("check", status=1)
    assert "FAIL  sjft.layers: the interpreter inside caffe cannot import sjft.layers" in output
    assert "ok    pycaffe" in output


@pytest.mark.skipif("CAFFE_ROOT" in os.environ, reason="the system's Python may have a pycaffe")
def test_pycaffe_missing(monkeypatch: pytest.MonkeyPatch, job: Path) -> None:
    drop_from("PYTHONPATH", "caffe/__init__.py", monkeypatch)
    output = run_sjft("check", "solver.prototxt", cwd=job, status=1)
    assert "FAIL  pycaffe: 'import caffe' fails" in output
    assert "FAIL  pycaffe inside caffe: " in output
    assert "skip  solver: needs pycaffe" in output


def test_missing_solver(job: Path, only_failure: Callable[[], str]) -> None:
    (job / "solver.prototxt").unlink()
    assert "solver.prototxt cannot be read: No such file" in only_failure()


def test_typo_in_solver(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, solver=SOLVER.replace("max_iter", "max_itr"))
    message = only_failure()
    assert "solver.prototxt, line 3" in message and "did you mean 'max_iter'?" in message


def test_typo_in_net(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace("num_output: 4", "num_outputs: 4"))
    message = only_failure()
    assert "net.prototxt, line 25" in message and "did you mean 'num_output'?" in message


def test_unknown_layer_type(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('"Pooling"', '"Poolling"'))
    assert "'Poolling', which this Caffe does not know; did you mean 'Pooling'?" in only_failure()


def test_started_in_another_folder(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (job / "elsewhere").mkdir()
    monkeypatch.chdir(job / "elsewhere")
    output = check("../solver.prototxt", capsys)
    assert "the net net.prototxt does not exist" in output
    assert f"run this, and caffe, in the folder {job}" in output


def test_snapshot_folder_missing(job: Path, only_failure: Callable[[], str]) -> None:
    (job / "snapshots").rmdir()
    assert "-> mkdir -p snapshots" in only_failure()


def test_param_str_with_a_typo(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, kk=3)
    assert "param_str has the unknown key 'kk'" in only_failure()


def test_unknown_sjft_layer(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('"TargetDataLayer"', '"TargetLayer"'))
    assert "did you mean 'TargetDataLayer'?" in only_failure()


def test_missing_lmdb(job: Path, only_failure: Callable[[], str]) -> None:
    shutil.rmtree(job / "source")
    message = only_failure()
    assert "image LMDB source: it does not exist" in message and "sjft convert" in message
    assert "skip  fit in layer 'data' of the train net" in message


def test_truncated_lmdb(job: Path, only_failure: Callable[[], str]) -> None:
    data = job / "source" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    assert "is truncated" in only_failure()


def test_neighbours_of_another_source(
    job: Path, make_lmdb: Callable[..., str], only_failure: Callable[[], str]
) -> None:
    make_lmdb("other", 20, classes=4, seed=2)
    write_job(job, source="other")
    message = only_failure()
    assert "was computed for another source" in message and "sjft retrieve" in message


def test_target_and_source_swapped(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, target="source", source="target")
    assert "target and source are swapped" in only_failure()


def test_too_few_neighbours(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, k0=K + 1)
    assert f"only {K} were retrieved" in only_failure()


def test_too_few_outputs_for_the_target(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(job, net=NET.replace("num_output: 3", "num_output: 2"))
    monkeypatch.chdir(job)
    output = check("solver.prototxt", capsys)
    assert len(failures(output)) == 2  # the train net's and the test net's
    assert "'fc_target' has 2 outputs, but the target labels of target go up to 2" in output
    assert "-> set num_output of 'fc_target' to 3 or more" in output


def test_too_few_outputs_for_the_source(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace("num_output: 4", "num_output: 3"))
    message = only_failure()
    assert "'fc_source' has 3 outputs, but the renumbered source labels of source" in message


def test_test_set_of_other_classes(
    job: Path, make_lmdb: Callable[..., str], only_failure: Callable[[], str]
) -> None:
    ImageLmdb(make_lmdb("other", 6, classes=2)).close()
    net = (job / "net.prototxt").read_text()
    net = net.replace('{"target": "target", "batch_size": 5', '{"target": "other", "batch_size": 5')
    (job / "net.prototxt").write_text(net)
    assert "target and other give their labels different class names" in only_failure()


def test_image_too_small_for_the_crop(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, crop=1000)
    assert "FAIL  first batch in layer 'data' of the train net" in only_failure()


def test_typo_in_a_bottom(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('bottom: "pool" top: "target"', 'bottom: "pol" top: "target"'))
    message = only_failure()
    assert "FAIL  Caffe builds the solver: it stops: Unknown bottom blob 'pol'" in message


@pytest.mark.skipif("CAFFE_ROOT" in os.environ, reason="a Caffe of one's own may know GPUs")
def test_gpu_solver_for_a_cpu_caffe(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, solver=SOLVER.replace("solver_mode: CPU", "solver_mode: GPU"))
    message = only_failure()
    assert "Cannot use GPU in CPU-only Caffe" in message and "-> set solver_mode: CPU" in message


def test_loss_without_weight(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(job, net=NET.replace("loss_weight: 1", ""))
    monkeypatch.chdir(job)
    output = check("solver.prototxt", capsys)
    assert "-> add 'loss_weight: 1' to the layer" in output
    assert "the train net has no loss: nothing would be trained" in output
    assert len(failures(output)) == 2


NATIVE = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "target" batch_size: 2 %(backend)s }
}
layer {
  name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 2 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def native_job(job: Path, backend: str) -> None:
    (job / "net.prototxt").write_text(NATIVE % {"backend": backend})
    solver = SOLVER.replace("test_iter: 2 test_interval: 100", "")
    (job / "solver.prototxt").write_text(solver)


def test_native_data_layer(job: Path, only_failure: Callable[[], str]) -> None:
    native_job(job, "backend: LMDB")
    assert "'fc' has 2 outputs, but the labels of target go up to 2" in only_failure()


def test_native_data_layer_without_side_files(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    native_job(job, "backend: LMDB")
    (job / "target" / "sjft.json").unlink()
    monkeypatch.chdir(job)
    output = check("solver.prototxt", capsys)
    assert not failures(output)
    assert "ok    data base target: 12 records; labels not looked at" in output


def test_native_data_layer_without_backend(job: Path, only_failure: Callable[[], str]) -> None:
    native_job(job, "")
    assert "-> add 'backend: LMDB' to its data_param" in only_failure()
