"""``sjft train`` when it diverges, when layers or data fail, when Caffe refuses: one sentence."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from _pytest.monkeypatch import MonkeyPatch  # pytest itself has it since 6.2

from caffe_nets import BODY, python_layer
from gpus import require_caffe_for_the_cpu
from joint_world import World, make_world
from processes import descendants
from train_job import (
    LONG,
    assert_same_values,
    debris,
    has_trained,
    held_after,
    said,
    snapshots,
    start,
    table,
    train,
    wait_until,
    write_job,
    write_solver,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of 10 iterations, done."""
    folder = write_job(tmp_path_factory.mktemp("finished"), world, max_iter=10)
    train(folder)
    return folder


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


def test_a_loss_that_is_as_great_as_it_can_be(finished: Path, tmp_path: Path) -> None:
    """It stays finite, and so do the weights: training goes on, for nothing."""
    folder = tmp_path / "job"
    shutil.copytree(finished, folder)
    write_solver(folder, base_lr=1e4, lr_policy='"fixed"', max_iter=12, display=1)
    output = train(folder, "--resume")
    assert re.search(
        r"warning: train_(target|source)_loss is 87.3365 after iteration 1\d, the most that a "
        "softmax loss can be: the net gives every image's own class no probability at all",
        output,
    ), said(folder)
    assert "warning: train" not in said(finished)


def test_a_gpu_for_a_caffe_without(world: World, tmp_path: Path) -> None:
    require_caffe_for_the_cpu()
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
        write_job(folder, world, held_after(45), **{**LONG, "snapshot": 0})
    train(straight)
    hold = ours / "hold"
    hold.touch()
    process = start(ours)
    wait_until(has_trained(ours, 30), process, ours)
    solver = descendants(process.pid)[0]
    Path(world.source).rename(tmp_path / "away")
    while process.poll() is None:
        for pid in descendants(solver):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        hold.unlink(missing_ok=True)
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
