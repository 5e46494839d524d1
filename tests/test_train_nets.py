"""``sjft train`` where the net or the snapshots are not as usual."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_nets import BODY, python_layer
from joint_world import World, make_world
from train_job import (
    ENDLESS,
    debris,
    snapshots,
    start,
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
    """A job that was done in an ordinary surrounding."""
    folder = write_job(tmp_path_factory.mktemp("finished"), world)
    train(folder)
    return folder


@pytest.mark.parametrize(
    "wrong, right, words",
    [
        ("sjft.layers", "sjft.layer", "error: ModuleNotFoundError: No module named 'sjft.layer'"),
        ("JointDataLayer", "JointLayer", "module 'sjft.layers' has no attribute 'JointLayer'"),
    ],
)
def test_layers_that_there_are_not(
    world: World, tmp_path: Path, wrong: str, right: str, words: str
) -> None:
    folder = write_job(tmp_path, world)
    net = (folder / "net.prototxt").read_text()
    key = "module" if wrong == "sjft.layers" else "layer"
    (folder / "net.prototxt").write_text(net.replace(f'{key}: "{wrong}"', f'{key}: "{right}"', 1))
    assert words in train(folder, status=1).splitlines()[-1]


def test_labels_beyond_the_scores(world: World, tmp_path: Path) -> None:
    """Caffe's own layers would read beyond the blob of scores."""
    body = BODY.replace("num_output: TARGET", "num_output: 4")
    twice = body + body[body.index('layer {\n  name: "accuracy"') :].replace('"accuracy"', '"top"')
    folder = write_job(tmp_path, world, twice)  # Caffe splits the blobs
    words = train(folder, status=2).splitlines()[-1]
    assert "error: 'accuracy' of the test net compares labels up to 4 with 'target_score" in words
    assert "which has 4 scores: expected num_output 5 or more of the layer that" in words
    assert not snapshots(folder) and not debris(folder)
    for label, is_refused in ((4, False), (0, True)):
        ignoring = f'top: "accuracy" accuracy_param {{ ignore_label: {label} }}'
        folder = write_job(tmp_path, world, body.replace('top: "accuracy"', ignoring))
        # if not here, the loss finds it later
        assert ("compares labels" in train(folder, status=2)) is is_refused


CHATTER = """
import sys, caffe

class Chatter(caffe.Layer):
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(1)
    def forward(self, bottom, top):
        sys.stderr.write("\\rstill at it" * 20000)
    def backward(self, top, propagate_down, bottom):
        pass
"""


def test_a_layer_that_never_ends_its_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says reaches the log during training, and is not kept in memory until the end."""
    (tmp_path / "chatter.py").write_text(CHATTER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    layer = python_layer("Chatter", "", ("words",)).replace("sjft.layers", "chatter")
    silence = 'layer { name: "silence" type: "Silence" bottom: "words" }'
    changes = {**ENDLESS, "display": 0, "snapshot": 0}
    write_job(tmp_path, world, BODY + layer + silence, **changes)
    process = start(tmp_path)
    log = tmp_path / "x_train.log"
    wait_until(lambda: log.exists() and log.stat().st_size > 3 << 20, process, tmp_path)
    process.terminate()
    assert process.wait(timeout=600) == 128 + signal.SIGTERM


def test_hdf5_snapshots_are_not_passed_over(world: World, finished: Path, tmp_path: Path) -> None:
    """What caffe train has trained for days is no reason to begin anew."""
    folder = tmp_path / "job"
    shutil.copytree(finished, folder)
    write_solver(folder, max_iter=25, snapshot_format="HDF5")
    command = ["caffe", "train", "-solver", "solver.prototxt"]
    command += ["-snapshot", "x_iter_20.solverstate"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    write_solver(folder, max_iter=30)
    before = sorted(os.listdir(folder))
    assert (
        "the newest snapshot, x_iter_25.solverstate.h5, is an HDF5 file, from which sjft train "
        "cannot go on: use 'caffe train -snapshot', or move the .h5 files away"
    ) in train(folder, "--resume", status=2)
    assert sorted(os.listdir(folder)) == before
    for path in folder.glob("*.h5"):
        path.unlink()
    assert "goes on after iteration 20" in train(folder, "--resume")


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_the_room_that_a_snapshot_takes(world: World, tmp_path: Path, kind: str) -> None:
    """The model, the state as Caffe writes it, and its copy."""
    folder = write_job(tmp_path, world, type=f'"{kind}"', snapshot_diff="true", max_iter=5)
    train(folder)
    files = snapshots(folder)
    model, state = (len(files[f"x_iter_5.{s}"]) for s in ("caffemodel", "solverstate"))
    script = (
        "import caffe; from sjft_tools.training.snapshots import shape_of\n"
        "print(shape_of(caffe.get_solver('solver.prototxt'), True).bytes_needed)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, check=True, capture_output=True, text=True
    )
    needed = int(done.stdout.split()[-1])
    assert 0.95 * (model + 2 * state) < needed < 1.05 * (model + 2 * state)
