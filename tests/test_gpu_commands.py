"""Commands with ``--gpu`` do what they do on the CPU, but for rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import REPO, draw_image, run_sjft, write_image_lmdb
from gpus import require_caffe_on_a_gpu
from joint_world import make_world
from sjft_tools.caffemodel import read_caffemodel, trained_blobs
from sjft_tools.evaluation.scores_file import read_scores

pytest.importorskip("caffe._caffe", reason="needs pycaffe")

import caffe
from train_job import train, write_job


@pytest.fixture(params=["CPU", pytest.param("GPU", marks=pytest.mark.gpu)])
def on(request: pytest.FixtureRequest) -> list[str]:
    """Words of a command; those for the CPU show that the tests themselves are right."""
    if request.param == "CPU":
        return []
    require_caffe_on_a_gpu()
    return ["--gpu", "0"]


def weights(path: Path) -> np.ndarray:
    blobs = trained_blobs(read_caffemodel(str(path)))
    return np.concatenate([np.asarray(blob.data) for own in blobs.values() for blob in own])


def test_training(on: list[str], tmp_path: Path) -> None:
    world = make_world(tmp_path)
    found = []
    for name, words in (("cpu", []), ("other", on)):
        folder = write_job(tmp_path / name, world, max_iter=6, snapshot=3, test_interval=6)
        train(folder, *words)
        found.append([weights(folder / f"x_iter_{i}.caffemodel") for i in (3, 6)])
    (middle, cpu), (_, other) = found
    learnt = np.linalg.norm(cpu - middle)
    assert learnt > 0
    assert np.linalg.norm(other - cpu) <= 0.02 * learnt
    assert on or (other == cpu).all()


def test_evaluating(on: list[str], tmp_path: Path) -> None:
    deploy = REPO / "prototxt" / "demo" / "deploy.prototxt"
    net = caffe.Net(str(deploy), caffe.TEST)
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        for blob in blobs:
            blob.data[...] = rng.random(blob.data.shape) if name.startswith("bn") else blob.data
        if not name.startswith(("bn", "scale")):
            shape = blobs[0].data.shape
            blobs[0].data[...] = 0.2 * rng.normal(size=shape)
    net.save(str(tmp_path / "w.caffemodel"))
    images = [draw_image(seed, 36, 40) for seed in range(23)]
    test = write_image_lmdb(tmp_path / "test_lmdb", images, [i % 10 for i in range(23)])
    scores = []
    for name, words in (("cpu", []), ("other", on)):
        out = tmp_path / f"{name}.npz"
        common = (deploy, tmp_path / "w.caffemodel", test, "--crops", "10", "--scores", out)
        run_sjft("evaluate", *common, *words)
        scores.append(read_scores(str(out)).scores)
    assert scores[0].std() > 0.01
    assert np.abs(scores[1] - scores[0]).max() <= 5e-3
    assert on or (scores[1] == scores[0]).all()
