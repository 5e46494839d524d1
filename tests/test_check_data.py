"""``sjft check`` of data bases, neighbours and labels: a line with a remedy for every fault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from check_job import NET, SOLVER, K, check, check_with_one_failure, failures, make_job, write_job
from sjft.image_lmdb import ImageLmdb


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


def test_param_str_with_a_typo(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, kk=3)
    assert "param_str has the unknown key 'kk'" in only_failure()


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
    assert "-> set num_output of 'fc_target' to 3 or more, or write another net by" in output


@pytest.mark.parametrize(("label", "count"), [(2, 0), (0, 2)])
def test_a_label_that_is_ignored_needs_no_output(
    job: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    label: int,
    count: int,
) -> None:
    net = NET.replace("num_output: 3", "num_output: 2")
    net = net.replace("param_str: '{}'", f"""param_str: '{{"ignore_label": {label}}}'""")
    accuracy = 'top: "accuracy"'
    net = net.replace(accuracy, f"{accuracy} accuracy_param {{ ignore_label: {label} }}")
    write_job(job, net=net)
    monkeypatch.chdir(job)
    output = check("solver.prototxt", capsys)
    assert len(failures(output)) == count  # the train net's and the test net's
    ignored = "the greatest of the target labels of target, 2, is ignored"
    assert output.count(ignored) == 2 - count


def test_too_few_outputs_for_the_source(job: Path, only_failure: Callable[[], str]) -> None:
    write_job(job, net=NET.replace("num_output: 4", "num_output: 3"))
    message = only_failure()
    assert "'fc_source' has 3 outputs, but the renumbered source labels of source" in message


@pytest.mark.parametrize("tops", ['"target_label" top: "source_label"', '"target" top: "source"'])
def test_target_and_source_the_other_way_round(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tops: str
) -> None:
    """In the data layer's tops or the Slice's: Caffe trains on it without a word."""
    first, second = tops.split(" top: ")
    net = NET.replace("num_output: 3", "num_output: 4")  # enough for either
    write_job(job, net=net.replace(f"top: {tops}", f"top: {second} top: {first}"))
    monkeypatch.chdir(job)
    output = check("solver.prototxt", capsys)
    assert len(failures(output)) == 2
    assert "'fc_target' is of the" in output and "'fc_source' is of the" in output
    assert "-> put target before source in the tops of both the data layer and the Slic" in output


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
