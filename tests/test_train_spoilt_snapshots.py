"""``sjft train`` beside snapshots cut short or of another net, and without room for a whole one."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_nets import BODY
from joint_world import World, make_world
from processes import run
from sjft_tools.training.snapshot_files import read_model, read_state
from sjft_tools.training.snapshots import Shape, choose
from train_job import debris, snapshots, train, write_job, write_solver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of 10 iterations, done."""
    folder = write_job(tmp_path_factory.mktemp("finished"), world, max_iter=10)
    train(folder)
    return folder


@pytest.fixture(scope="module")
def shape(finished: Path) -> Shape:
    """What that job's snapshots hold."""
    script = (
        "import caffe; from sjft_tools.training.snapshots import shape_of\n"
        "print(repr(tuple(shape_of(caffe.get_solver('solver.prototxt')))))"
    )
    printed = run(sys.executable, "-c", script, cwd=finished)
    return Shape(*ast.literal_eval(printed.splitlines()[-1]))


def cut(path: Path, size: int) -> None:
    """Cut a file short, to `size` bytes or by -`size`."""
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


@pytest.mark.parametrize(
    "suffix, size, words",
    [
        ("solverstate", 0, "x_iter_10.solverstate is empty"),
        ("solverstate", 40, "x_iter_10.solverstate is cut short, or not a file of Caffe's"),
        ("solverstate", -2, "x_iter_10.solverstate is cut short"),  # between two fields
        ("solverstate", -100, "x_iter_10.solverstate is cut short, or not a file of Caffe's"),
        ("caffemodel", 0, "its model x_iter_10.caffemodel is empty"),
        ("caffemodel", 200, "its model x_iter_10.caffemodel is cut short, or not a file of Caff"),
        ("caffemodel", -1, "its model x_iter_10.caffemodel is cut short, or not a file of Caff"),
    ],
)
def test_incomplete_snapshots_are_passed_over(
    finished: Path,
    shape: Shape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    size: int,
    words: str,
) -> None:
    folder = tmp_path / "job"
    shutil.copytree(finished, folder)
    cut(folder / f"x_iter_10.{suffix}", size)
    monkeypatch.chdir(folder)
    check_passed_over(shape, words)


def check_passed_over(shape: Shape, words: str) -> None:
    """Check that in the current folder iteration 10's snapshot is found wanting, and 5's is not."""
    told: list[str] = []
    chosen = choose(["x_iter_10.solverstate", "x_iter_5.solverstate"], shape, told.append)
    assert len(told) == 1 and words in told[0]
    assert chosen is not None
    assert chosen[0] == "x_iter_5.solverstate"
    assert chosen[1][:2] == (5, "x_iter_5.caffemodel")


def test_snapshots_with_a_wrong_model_are_passed_over(
    world: World,
    finished: Path,
    shape: Shape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "job"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    other = write_job(tmp_path / "other", world, BODY.replace("num_output: 4", "num_output: 3"))
    train(other)
    model = folder / "x_iter_10.caffemodel"
    model.unlink()
    check_passed_over(shape, "its model x_iter_10.caffemodel cannot be read (No such file or dir")
    shutil.copy(other / "x_iter_10.caffemodel", model)
    check_passed_over(shape, "its model x_iter_10.caffemodel is cut short or of another net")
    model.write_bytes(b"something else")
    check_passed_over(shape, "its model x_iter_10.caffemodel is cut short, or not a file of Ca")
    # the whole way, the newest being of no use; the one before it is named
    write_solver(folder)
    words = train(folder, "--resume")
    assert "the snapshot x_iter_10.solverstate is of no use: its model x_iter_10" in words
    assert "passed over" in words and "goes on after iteration 5, from x_iter_5.sol" in words
    assert snapshots(folder)["x_iter_10.caffemodel"] == snapshots(finished)["x_iter_10.caffemodel"]
    # a complete snapshot of another net is no reason to train from the beginning
    for name in snapshots(other):
        shutil.copy(other / name, folder)
    words = train(folder, "--resume", status=2)
    assert "x_iter_20.solverstate is of another net or type of solver: it keeps 6 blobs" in words


@pytest.mark.parametrize("size, is_foreseen", [("256k", False), ("96k", True)])
def test_no_room_for_a_snapshot(world: World, tmp_path: Path, size: str, is_foreseen: bool) -> None:
    """On a file system of its own, which is full when the third snapshot is taken, or the first."""
    write_job(tmp_path, world, snapshot_prefix='"small/x"', snapshot=2)
    command = (
        f"mkdir small && mount -t tmpfs -o size={size} none small && "
        f"{sys.executable} -m sjft_tools.cli train solver.prototxt; "
        "echo status $?; ls -A small; cp small/x_iter_* ."
    )
    try:
        process = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", command],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
    except FileNotFoundError:
        pytest.skip("needs the command unshare")
    words = process.stdout
    if "unshare" in words or "mount:" in words:
        pytest.skip(f"no file system can be mounted here: {words.splitlines()[0]}")
    assert ("warning: a snapshot takes about 0.1 MiB, but only" in words) == is_foreseen
    check_no_room(words, tmp_path, "small/")


def check_no_room(words: str, folder: Path, place: str) -> None:
    """Check what was said and left when there was no room for a snapshot."""
    found = re.search(
        rf"error: the snapshot of iteration (\d+) could not be written to {place}x_iter_\1"
        r".caffemodel and .solverstate \((.+)\): expected room for about 0.[0-9] MiB in (.+), "
        rf"where .* MiB are free(?:; a quota, or 'ulimit -f', may leave less)?; "
        rf"(there is no snapshot yet|the newest snapshot is {place}x_iter_)",
        words,
    )
    assert found is not None, words
    assert "status 1" in words
    assert ".partial" not in words.partition("status 1")[2]
    names = snapshots(folder)
    last = int(found.group(1)) - 2
    expected = [
        f"x_iter_{i}.{s}" for i in range(2, last + 1, 2) for s in ("caffemodel", "solverstate")
    ]
    assert sorted(names) == sorted(expected)
    for name in names:
        read = read_state if name.endswith("solverstate") else read_model
        read(str(folder / name))  # complete


def test_files_may_not_become_as_large_as_a_snapshot(world: World, tmp_path: Path) -> None:
    body = BODY.replace("num_output: TARGET", "num_output: 50")
    write_job(tmp_path, world, body, snapshot=2, test_iter=None, test_interval=None)
    command = (
        f"ulimit -f 100; {sys.executable} -m sjft_tools.cli train solver.prototxt; echo status $?"
    )
    words = run("bash", "-c", command, cwd=tmp_path)
    check_no_room(words + "".join(debris(tmp_path)), tmp_path, "")
    assert "are free; a quota, or 'ulimit -f', may leave less" in words
