"""``sjft train`` when things go wrong: killed at any moment, out of room, diverging, refused."""

from __future__ import annotations

import ast
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from _pytest.monkeypatch import MonkeyPatch  # pytest itself has it since 6.2

from caffe_nets import BODY, python_layer
from joint_world import World, make_world
from processes import caffe_train, descendants, run, survivors
from sjft_tools.training.snapshot_files import read_model, read_state
from sjft_tools.training.snapshots import Shape, choose
from train_job import (
    assert_same_values,
    debris,
    displayed,
    has_trained,
    said,
    snapshots,
    start,
    table,
    train,
    wait_until,
    write_job,
    write_solver,
)

LONG = {"max_iter": 600, "display": 10, "test_interval": 100, "snapshot": 20, "stepsize": 170}
KILLS = 10


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


@pytest.fixture(scope="module")
def by_caffe(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The long job as ``caffe train`` does it: the folder, and its log."""
    folder = write_job(tmp_path_factory.mktemp("caffe"), world, **LONG)
    return folder, caffe_train(folder)


def test_killed_at_random_moments_and_started_by_the_same_command(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    theirs, log = by_caffe
    ours = write_job(tmp_path / "ours", world, **LONG)
    generator = random.Random(1)
    killed, longest_s = 0, 2.5
    while killed < KILLS:
        process = start(ours, "--resume")
        training = ours / ".x.partial" / "solver.prototxt"
        wait_until(training.exists, process, ours)
        family = []
        deadline = time.monotonic() + generator.uniform(0, longest_s)
        while process.poll() is None and time.monotonic() < deadline:
            family = descendants(process.pid)
            time.sleep(0.02)
        if process.poll() is not None:
            if killed >= 3:
                break
            longest_s /= 2  # the machine is too fast to be caught before the end
            shutil.rmtree(ours)
            write_job(ours, world, **LONG)
            continue
        process.kill()
        process.wait()
        killed += 1
        assert not survivors(family)
        for name in snapshots(ours):
            assert name in snapshots(theirs)
    train(ours, "--resume")
    assert snapshots(ours) == snapshots(theirs)
    assert_same_values(table(ours), displayed(log))
    assert not debris(ours)


def test_no_snapshot_is_ahead_of_the_values(
    world: World, tmp_path: Path, by_caffe: tuple[Path, str]
) -> None:
    write_job(tmp_path, world, **LONG)
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 30), process, tmp_path)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)  # for the process that trains to run ahead
    process.kill()
    process.wait()
    train(tmp_path, "--resume")
    assert snapshots(tmp_path) == snapshots(by_caffe[0])
    assert_same_values(table(tmp_path), displayed(by_caffe[1]))


def test_the_process_that_trains_is_killed(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, **LONG)
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 30), process, tmp_path)
    os.kill(descendants(process.pid)[0], signal.SIGKILL)
    assert process.wait(timeout=60) == 1
    assert re.search(
        r"error: the process that trains ended after iteration \d+: it ended by SIGKILL, by hand "
        r"or because memory ran out; its log is x_train.log; the newest snapshot is (x_iter_\d+)"
        r".solverstate: 'sjft train solver.prototxt --resume' goes on from it",
        said(tmp_path),
    )
    assert not debris(tmp_path)


@pytest.mark.parametrize(
    "base_lr, words",
    [
        (1e30, r"the loss of iteration 11 is not finite \(-?(nan|inf)\)"),
        (3e38, "after iteration 11 the weights are not finite"),
    ],
)
def test_training_that_diverges(finished: Path, tmp_path: Path, base_lr: float, words: str) -> None:
    folder = tmp_path / "job"
    shutil.copytree(finished, folder)
    write_solver(folder, base_lr=base_lr, lr_policy='"fixed"', max_iter=20, snapshot=1)
    assert re.search(
        f"error: {words}, and no snapshot was taken of it: lower base_lr, set clip_gradients, or "
        "look for wrong labels with 'sjft check solver.prototxt'; the newest snapshot is "
        "x_iter_10.solverstate: 'sjft train solver.prototxt --resume' goes on from it",
        train(folder, "--resume", status=1),
    ), said(folder)
    assert snapshots(folder) == snapshots(finished)
    assert not debris(folder)


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
            timeout=120,
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
        rf"where .* MiB are free; (there is no snapshot yet|the newest snapshot is {place}x_iter_)",
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


@pytest.mark.skipif("CAFFE_ROOT" in os.environ, reason="a Caffe of one's own may know GPUs")
def test_a_gpu_for_a_caffe_without(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world)
    words = train(tmp_path, "--gpu", "0", status=1)
    assert "the process that trains ended before training began: Cannot use GPU in CPU-o" in words
    assert "leave out --gpu and set solver_mode: CPU, or use a Caffe built with CUDA" in words
    write_solver(tmp_path, solver_mode="GPU")
    assert "Cannot use GPU in CPU-only Caffe" in train(tmp_path, status=1)
    assert not snapshots(tmp_path) and not debris(tmp_path)


def test_the_source_goes_away_with_the_workers(tmp_path: Path) -> None:
    """A snapshot is taken, and what goes on from it, with the source back, is a straight run."""
    world = make_world(tmp_path)
    straight, ours = tmp_path / "straight", tmp_path / "ours"
    for folder in (straight, ours):
        write_job(folder, world, **{**LONG, "snapshot": 0})
    train(straight)
    process = start(ours)
    wait_until(has_trained(ours, 30), process, ours)
    solver = descendants(process.pid)[0]
    Path(world.source).rename(tmp_path / "away")
    while process.poll() is None:
        for pid in descendants(solver):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert process.returncode in (1, 2)
    newest = newest_snapshot(said(ours).splitlines()[-1])
    assert newest >= 30
    (tmp_path / "away").rename(world.source)
    assert f"goes on after iteration {newest}, from" in train(ours, "--resume")
    theirs = snapshots(straight)
    assert {name: snapshots(ours)[name] for name in theirs} == theirs
    assert_same_values(table(ours), table(straight))


def newest_snapshot(sentence: str) -> int:
    """Return the iteration of the newest snapshot in a run's last sentence."""
    found = re.search(
        r"error: .*; the newest snapshot is x_iter_(\d+).solverstate: "
        "'sjft train solver.prototxt --resume' goes on from it$",
        sentence,
    )
    assert found is not None, sentence
    return int(found.group(1))


FUSE = """
import os, caffe

class Fuse(caffe.Layer):
    passes = 0
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(1)
    def forward(self, bottom, top):
        self.passes += 1
        if os.path.exists("blows") and open("blows").read() == f"{self.param_str} {self.passes}":
            raise ValueError("the fuse has blown")
    def backward(self, top, propagate_down, bottom):
        pass
"""


def fused() -> str:
    """Return a body with a data layer that may raise in either phase, and a layer behind conv."""
    body = BODY
    for name, bottoms, phase in (
        ("train", (), "TRAIN"),
        ("test", (), "TEST"),
        ("behind", ("conv",), "TRAIN"),
    ):
        include = f"include {{ phase: {phase} }}"
        layer = python_layer("Fuse", name, (name,), bottoms, include).replace("sjft.layers", "fuse")
        body += f'{layer}layer {{ name: "no_{name}" type: "Silence" bottom: "{name}" {include} }}'
    return body


@pytest.fixture(scope="module")
def straight(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with such layers that runs through; beside it, the module they are in."""
    folder = write_job(tmp_path_factory.mktemp("fused") / "job", world, fused(), iter_size=2)
    (folder.parent / "fuse.py").write_text(FUSE)
    patch = MonkeyPatch()
    patch.setenv("PYTHONPATH", str(folder.parent), prepend=os.pathsep)
    try:
        train(folder)
    finally:
        patch.undo()
    return folder


@pytest.mark.parametrize(
    "blows, iteration",
    [
        ("train 16", 7),  # in the second pass of an iteration
        ("train 31", 15),  # right after a snapshot was written, of which no loss is known
        ("train 1", None),
        ("test 8", 8),
        ("behind 16", 5),  # it may be the weights that it does not like
    ],
)
def test_a_layer_raises(
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blows: str,
    iteration: int | None,
) -> None:
    """Where data layers raise, a snapshot is taken; what goes on from it is a straight run."""
    monkeypatch.setenv("PYTHONPATH", str(straight.parent), prepend=os.pathsep)
    for name in ("net.prototxt", "solver.prototxt"):
        shutil.copy(straight / name, tmp_path)
    (tmp_path / "blows").write_text(blows)
    last = train(tmp_path, status=1).splitlines()[-1]
    assert "error: ValueError: the fuse has blown; " in last
    if iteration is None:
        assert not snapshots(tmp_path)
        assert "there is no snapshot yet: 'sjft train solver.prototxt --resume' starts from" in last
    else:
        assert newest_snapshot(last) == iteration
    (tmp_path / "blows").unlink()
    train(tmp_path, "--resume")
    theirs = snapshots(straight)
    assert {name: snapshots(tmp_path)[name] for name in theirs} == theirs
    assert_same_values(table(tmp_path), table(straight))
    assert not debris(tmp_path)


def test_what_caffe_and_layers_say_becomes_one_sentence(
    world: World, finished: Path, tmp_path: Path
) -> None:
    folder = write_job(tmp_path / "shapes", world, BODY.replace("num_output: 4", "num_output: 3"))
    words = train(folder, "--weights", finished / "x_iter_10.caffemodel", status=1)
    assert (
        "Cannot copy param 0 weights from layer 'conv'; shape mismatch." in words.splitlines()[-1]
    )
    folder = write_job(
        tmp_path / "labels", world, BODY.replace("num_output: SOURCE", "num_output: 2")
    )
    words = train(folder, status=2)
    assert words.splitlines()[-1].startswith(
        "sjft train: error: MultiTaskLossLayer: the label blob of task 2 holds the label"
    )
    assert not snapshots(folder) and not debris(folder)
