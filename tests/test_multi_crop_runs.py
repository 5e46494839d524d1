"""``sjft evaluate`` with several views: killed and gone on with; batches, options refused."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest

from conftest import draw_image, write_image_lmdb
from crop_nets import Small, evaluated, make_small
from processes import run
from sjft.image_lmdb import ImageLmdb
from sjft_tools.cli import main
from sjft_tools.evaluation.accuracy import accuracy

# Runs ``sjft`` and kills it before the file argv[1] gets its name.
KILLED = """
import os, signal, sys
from sjft_tools.cli import main

def kill(event, arguments, name=sys.argv[1]):
    if event == "os.rename" and str(arguments[1]).endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    return make_small(tmp_path_factory.mktemp("small"))


def test_probabilities_of_a_softmax_layer_are_taken_as_they_are(small, tmp_path):
    arguments = (small.deploy, small.weights, small.test, "--crops", 10)
    by_layer, _ = evaluated(tmp_path, *arguments)
    by_numpy, _ = evaluated(tmp_path, *arguments, "--output", "fc")
    np.testing.assert_allclose(by_layer, by_numpy, atol=1e-6)
    np.testing.assert_allclose(by_layer.sum(axis=1), 1, atol=1e-6)


def test_batches_do_not_matter_to_ten_crops(small, tmp_path):
    arguments = (small.deploy, small.weights, small.test, "--crops", 10, "--resize", 29)
    scores = [evaluated(tmp_path, *arguments, "--batch-size", size)[0] for size in (1, 7, 90)]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-6)
    assert accuracy(scores[0], ImageLmdb(str(small.test)).labels).top5 == 1


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(small, tmp_path, capfd):
    images = [draw_image(i, 27, 30) for i in range(600)]
    test = write_image_lmdb(tmp_path / "many", images, [i % 4 for i in range(600)])
    options = (small.deploy, small.weights, test, "--crops", 10, "--scores")
    work = tmp_path / ".killed.npz.work"

    def finished() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in work.glob("0*.npy")}

    kept: dict[str, int] = {}
    for chunk in (1, 4):
        killed = (sys.executable, "-c", KILLED, f"{chunk:06d}.npy", "evaluate", *options)
        run(*killed, tmp_path / "killed.npz", status=-signal.SIGKILL)
        assert not (tmp_path / "killed.npz").exists()
        assert len(finished()) == chunk
        assert kept.items() <= finished().items()  # what was done is not done again
        kept = finished()
    main(["evaluate", *map(str, (*options, tmp_path / "straight.npz"))])
    assert "goes on" not in capfd.readouterr().err
    assert finished() == kept
    main(["evaluate", *map(str, (*options, tmp_path / "killed.npz"))])
    assert f"goes on with what an unfinished run left in {work}" in capfd.readouterr().err
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "straight.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["killed.npz", "many", "straight.npz"]


def test_what_another_run_left_is_not_taken(small, tmp_path):
    work = tmp_path / ".scores.npz.work"
    work.mkdir()
    (work / "plan.json").write_text("{}")
    np.save(work / "000000.npy", np.full((9, 5), 0.2, np.float32))
    scores, _ = evaluated(tmp_path, small.deploy, small.weights, small.test, "--crops", 10)
    assert scores.std() > 0.01 and not work.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crops", "dense", "--resize", 40), "--crops dense shows whole images: expected --sc"),
        (("--crops", "dense", "--scales", 40, 40), "--scales names a size twice: 40 40"),
        (("--scales", 40), "--scales is for --crops dense, got --crops 1"),
        (("--crops", "10", "--resize", 24), "crop 25 is larger than record 0"),
        (("--crops", "dense", "--scales", 40), "--crops dense expects a fully convolutional one"),
        (("--crops", "2"), "invalid choice: '2'"),
        (("--mean", "nan", 0, 0), "expected three finite numbers"),
        (("--output", "fcc"), "did you mean 'fc'?"),
    ],
)
def test_bad_options(small, tmp_path, capsys, options, message):
    arguments = (small.deploy, small.weights, small.test, *options, "--scores", tmp_path / "s.npz")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    left = sorted(os.listdir(tmp_path))
    assert left in ([], [".s.npz.work"])
