"""``sjft check`` of Caffe, solver and nets: all green, and a line with a remedy for every fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from check_job import NET, SOLVER, check, check_with_one_failure, failures, make_job, write_job
from conftest import run_sjft
from gpus import require_caffe_for_the_cpu


@pytest.fixture
def job(tmp_path: Path, make_lmdb: Callable[..., str]) -> Path:
    """A folder with data bases, a net and a solver that train."""
    return make_job(tmp_path, make_lmdb)


@pytest.fixture
def only_failure(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """A function that checks the job, which must fail once; it returns that line and the rest."""
    monkeypatch.chdir(job)
    return lambda: check_with_one_failure("solver.prototxt", capsys)


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


@pytest.mark.parametrize(
    ("prefix", "files"),
    [
        ('snapshot_prefix: "snapshots"', "snapshots/solver_iter_N.caffemodel"),
        ("", "solver_iter_N.caffemodel"),
    ],
)
def test_names_of_snapshots_as_caffe_completes_them(
    job: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prefix: str,
    files: str,
) -> None:
    given = 'snapshot_prefix: "snapshots/joint"'
    assert given in SOLVER
    write_job(job, solver=SOLVER.replace(given, prefix))
    monkeypatch.chdir(job)
    assert f"ok    snapshots: {files}\n" in check("solver.prototxt", capsys)


def test_unknown_sjft_layer(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('"TargetDataLayer"', '"TargetLayer"'))
    assert "did you mean 'TargetDataLayer'?" in only_failure()


def test_unknown_module_of_a_layer(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('"sjft.layers"', '"sjft_layers"'))
    said = "FAIL  Caffe builds the solver: it stops: ModuleNotFoundError: No module named 'sjft_lay"
    assert said in only_failure()


def test_typo_in_a_bottom(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace('bottom: "pool" top: "target"', 'bottom: "pol" top: "target"'))
    message = only_failure()
    assert "FAIL  Caffe builds the solver: it stops: Unknown bottom blob 'pol'" in message


def test_gpu_solver_for_a_cpu_caffe(job: Path, only_failure: Callable[[], str]) -> None:
    require_caffe_for_the_cpu()
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
