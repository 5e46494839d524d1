"""The command `sjft prototxt`, and the text of the files under prototxt/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from conftest import REPO, run_sjft
from sjft_tools.nets.published import published_files
from sjft_tools.nets.text import Word, quoted, scalar
from sjft_tools.netscope.grammar import read_fields
from sjft_tools.netscope.rules import netscope_problems

NETS = sorted(name for name in published_files() if not name.endswith("solver.prototxt"))


def test_published_files_are_as_generated():
    assert "80 files" in run_sjft("prototxt", "--check", cwd=REPO)


@pytest.mark.parametrize("name", NETS)
def test_files_look_written_by_hand(name):
    text = (REPO / "prototxt" / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        assert line == line.rstrip() != "" and indent % 2 == 0
        assert len(line) <= 100 or line.startswith("    param_str: '{")


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "it's", "both ' and \"", "back\\slash", "two\nlines", "Ü"]
)
def test_strings_read_back_in_caffe_and_netscope(text):
    message = text_format.Parse(f"name: {quoted(text)}", caffe_pb2.NetParameter())
    assert message.name == text
    assert len(read_fields(f"name: {quoted(text)}")) == 1


def test_scalars():
    values = [Word("MAX"), "MAX", True, 3, 0.5, 0.0001, 1e-7]
    assert [scalar(v) for v in values] == ["MAX", '"MAX"', "true", "3", "0.5", "0.0001", "1e-07"]


def test_own_target_set(tmp_path):
    run_sjft(
        *("prototxt", "--out-dir", "my_nets", "--target-classes", 4, "--source-classes", 8),
        *("--test-images", 25, "--batch-size", 6, "--k0", 3, "--target", "it's/train_lmdb"),
        cwd=tmp_path,
    )
    folder = tmp_path / "my_nets"
    kinds = ("deploy", "deploy_both", "deploy_dense", "solver", "target_only_solver")
    kinds += ("target_only_train_val", "train_val")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"sjft_{kind}.prototxt" for kind in kinds
    ]
    solver = (folder / "sjft_solver.prototxt").read_text()
    assert 'net: "my_nets/sjft_train_val.prototxt"' in solver
    assert "test_iter: 7\n" in solver
    assert 'snapshot_prefix: "my_nets/sjft"' in solver
    net = (folder / "sjft_train_val.prototxt").read_text()
    assert r"""param_str: '{"target": "it\'s/train_lmdb",""" in net
    assert '"batch_size": 6, "k0": 3' in net
    assert "num_output: 4\n" in net and "num_output: 8\n" in net
    assert "accuracy_top5" not in net  # of four classes
    assert netscope_problems(net) == []


@pytest.mark.parametrize(
    "options, expected",
    [
        # more batches of fewer images: the authors' schedule all the same
        (("--batch-size", 12, "--iter-size", 15), (15, 20000, 4000, 500, "The authors' schedule")),
        # the rate falls as often, and there is a test at the end
        (("--max-iter", 400), (10, 400, 80, 400, "Numbers of your own")),
        (("--max-iter", 3), (10, 3, 1, 3, "Numbers of your own")),
        (("--stepsize", 5000), (10, 20000, 5000, 500, "Numbers of your own")),
        (("--max-iter", 9000, "--stepsize", 9000), (10, 9000, 9000, 500, "Numbers of your own")),
    ],
)
def test_a_schedule_of_ones_own(tmp_path, options, expected):
    run_sjft("prototxt", "--out-dir", "nets", *options, cwd=tmp_path)
    for kind in ("solver", "target_only_solver"):
        text = (tmp_path / f"nets/sjft_{kind}.prototxt").read_text()
        found = text_format.Parse(text, caffe_pb2.SolverParameter())
        numbers = (found.iter_size, found.max_iter, found.stepsize, found.test_interval)
        assert numbers == expected[:4]
        assert f"\n# {expected[4]}" in text
    run_sjft("prototxt", "--out-dir", "nets", *options, "--check", cwd=tmp_path)


def test_frozen_statistics_on_another_net(tmp_path):
    options = ("--net", "resnet50", "--frozen-statistics", "--out-dir", "nets")
    run_sjft("prototxt", *options, cwd=tmp_path)
    net = (tmp_path / "nets/sjft_train_val.prototxt").read_text()
    assert net.count('type: "BatchNorm"') == net.count("use_global_stats: true") == 53
    solver = (tmp_path / "nets/sjft_solver.prototxt").read_text()
    assert "BatchNorm's statistics" not in solver


def test_nets_without_batch_norm_have_nothing_to_freeze(tmp_path):
    options = ("--net", "vgg16", "--frozen-statistics", "--out-dir", "nets")
    message = run_sjft("prototxt", *options, status=2, cwd=tmp_path)
    assert "error: vgg16 has no BatchNorm whose statistics could be frozen" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option, value", [("--target-classes", 67), ("--stepsize", 4000)])
def test_own_target_set_needs_a_folder_of_its_own(tmp_path, option, value):
    message = run_sjft("prototxt", option, 4, status=2, cwd=tmp_path)
    assert (
        f"sjft prototxt: error: {option} is not the published nets' ({value}), and prototxt "
        "holds those: give --out-dir, a folder for nets of your own" in message
    )
    assert not list(tmp_path.iterdir())


def test_out_dir_must_be_a_folder(tmp_path):
    (tmp_path / "nets").write_text("a file")
    message = run_sjft("prototxt", "--out-dir", "nets", status=2, cwd=tmp_path)
    assert "--out-dir nets is a file: expected a folder, or a name for a new one" in message


def test_check_names_what_differs(tmp_path):
    run_sjft("prototxt", "--out-dir", "nets", cwd=tmp_path)
    folder = tmp_path / "nets"
    run_sjft("prototxt", "--out-dir", "nets", "--check", cwd=tmp_path)
    with (folder / "sjft_solver.prototxt").open("a") as solver:
        solver.write("# by hand\n")
    (folder / "demo/deploy.prototxt").unlink()
    (folder / "demo/old.prototxt").write_text("")
    message = run_sjft("prototxt", "--out-dir", "nets", "--check", status=2, cwd=tmp_path)
    assert (
        "nets is not as generated (sjft_solver.prototxt differs, demo/deploy.prototxt is missing, "
        "demo/old.prototxt is not generated): run sjft prototxt --force" in message
    )
    message = run_sjft("prototxt", "--out-dir", "none", "--check", status=2, cwd=tmp_path)
    assert re.search(r"none is not as generated \(.* is missing and \d+ more\): run sjft", message)


def test_changed_files_are_replaced_only_with_force(tmp_path):
    run_sjft("prototxt", "--out-dir", "nets", cwd=tmp_path)
    edited = tmp_path / "nets/sjft_solver.prototxt"
    (tmp_path / "nets/sjft_deploy.prototxt").unlink()
    edited.write_text("# by hand\n")
    message = run_sjft("prototxt", "--out-dir", "nets", status=2, cwd=tmp_path)
    assert "nets/sjft_solver.prototxt exists and differs from what is to be written" in message
    assert edited.read_text() == "# by hand\n"
    assert not (tmp_path / "nets/sjft_deploy.prototxt").exists()
    message = run_sjft("prototxt", "--out-dir", "nets", "--force", cwd=tmp_path)
    assert "nets/sjft_solver.prototxt written" in message
    assert "nets/sjft_train_val.prototxt unchanged" in message
    run_sjft("prototxt", "--out-dir", "nets", "--check", cwd=tmp_path)


@pytest.mark.parametrize(
    "option", [("--batch-size", "7"), ("--target-classes", "0"), ("--stepsize", "0")]
)
def test_impossible_numbers_are_refused(tmp_path: Path, option):
    message = run_sjft("prototxt", "--out-dir", "nets", *option, status=2, cwd=tmp_path)
    assert f"argument {option[0]}: expected an" in message
    assert not list(tmp_path.iterdir())
