"""``sjft harden``: levels grow as the rule says, on a net whose scores are made by hand."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import caffe
from conftest import write_image_lmdb
from sjft.batches import JointBatches
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data
from sjft.levels import read_levels
from sjft_tools.cli import main
from sjft_tools.hardening import choose_delta, entropies, grown, judge, transitions
from sjft_tools.levels_writer import write_levels
from sjft_tools.neighbour_lmdb_writer import write_neighbours

# Images of one colour, and a net whose scores of blue, green, red are the colour / 32: the softmax
# of every image is known.
DEPLOY = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
# (blue, green, red), label, what the rule makes of it
CASES = [
    ((255, 0, 0), 0, "certain"),
    ((0, 255, 0), 1, "certain"),
    ((0, 255, 0), 0, "wrong"),
    ((0, 0, 200), 2, "certain"),
    ((96, 64, 0), 0, "uncertain"),
    ((0, 90, 100), 2, "uncertain"),
    ((0, 90, 100), 1, "wrong"),
    ((128, 128, 0), 1, "wrong"),  # a tie
]
STEP = {"wrong": 2, "uncertain": 1, "certain": 0}
STEPS = np.array([STEP[kind] for _, _, kind in CASES])


class World(NamedTuple):
    deploy: Path
    weights: Path
    target: Path
    probabilities: np.ndarray


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("harden")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TRAIN)
    net.params["fc"][0].data[...] = np.eye(3) / 32
    net.params["fc"][1].data[...] = np.array([104, 117, 123]) / 32  # undoes the mean
    net.save(str(folder / "net.caffemodel"))
    images = [np.full((8, 8, 3), colour, np.uint8) for colour, _, _ in CASES]
    target = write_image_lmdb(folder / "target", images, [label for _, label, _ in CASES])
    powers = np.exp(np.array([colour for colour, _, _ in CASES]) / 32)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return World(folder / "deploy.prototxt", folder / "net.caffemodel", target, probabilities)


def harden(world: World, *arguments: object) -> None:
    main(["harden", *map(str, (world.deploy, world.weights, world.target, *arguments))])


def levels_of(world: World, path: Path) -> list[int]:
    return read_levels(str(path), ImageLmdb(str(world.target))).levels.tolist()


def in_neighbours(sigma0: int, sigma1: int, most: int) -> list[object]:
    return ["--sigma0", sigma0, "--sigma1", sigma1, "--most", most]


def test_rounds_by_hand(world, tmp_path, capsys):
    """Four rounds with a net that does not learn: hard images rise to the end, others stay."""
    expected = np.ones(len(CASES), int)
    before: object = "-"
    for number in range(6):
        after = tmp_path / f"{number}.json"
        harden(world, before, after, "--json", tmp_path / f"{number}.table")
        expected = np.minimum(expected + STEPS, 10)
        assert levels_of(world, after) == expected.tolist()
        before = after
    assert expected.tolist() == [1, 1, 10, 1, 7, 7, 10, 10]
    printed = capsys.readouterr().out
    assert "wrong         3\nuncertain     2, right with an entropy of at least 0.1099 n" in printed
    assert "certain       3\nmoved         5\n\n" in printed
    assert "  level before     after    images\n             1         1         3\n" in printed
    assert "moved         2; 3 more would, but are as far as they may go\n" in printed
    table = json.loads((tmp_path / "0.table").read_text())
    assert table["delta"] == pytest.approx(0.1 * math.log(3))
    assert table["transitions"] == [[1, 1, 3], [1, 2, 2], [1, 3, 3]]
    counts = {key: table[key] for key in ("wrong", "uncertain", "certain", "moved")}
    assert counts == {"wrong": 3, "uncertain": 2, "certain": 3, "moved": 5}
    assert json.loads((tmp_path / "5.table").read_text())["moved"] == 2


def test_joint_data_layer_takes_the_levels(world, tmp_path):
    """What harden writes reaches the batches: visits per epoch and neighbours in use."""
    sources = [np.full((8, 8, 3), i, np.uint8) for i in range(40)]
    source = write_image_lmdb(tmp_path / "source", sources, [0] * 40)
    count = len(CASES)
    rng = np.random.default_rng(3)
    indices = np.stack([rng.permutation(40)[:30] for _ in range(count)])
    lmdbs = ImageLmdb(str(world.target)), ImageLmdb(str(source))
    distances = np.zeros((count, 30), np.float32)
    write_neighbours(str(tmp_path / "neighbours"), *lmdbs, indices, distances, {})
    harden(world, "-", tmp_path / "levels")
    harden(world, "-", tmp_path / "k_i", "--k0", 4, *in_neighbours(9, 5, 12))
    grown_k = 4 + np.minimum(np.array([0, 5, 9])[STEPS], 8)
    for levels, k, visits in (
        ("levels", 4 * (1 + STEPS), 1 + STEPS),
        ("k_i", grown_k, [1] * count),
    ):
        names = {"target": world.target, "source": source, "neighbours": tmp_path / "neighbours"}
        params = {
            **{name: str(path) for name, path in names.items()},
            **{"levels": str(tmp_path / levels), "k0": 4, "batch_size": 2, "crop": 8},
            **{"mean": [0, 0, 0], "max_per_class": None},
        }
        batches = JointBatches(parse_joint_data(json.dumps(params)))
        seen: list[list[int]] = [[] for _ in CASES]
        epochs = 200
        for number in range(epochs * int(np.sum(visits))):
            out = {name: np.zeros(shape, np.float32) for name, shape in batches.tops.items()}
            batches.fill(number, out)
            seen[int(out["target_indices"][0])].append(int(out["data"][1, 0, 0, 0]))
        for i, drawn in enumerate(seen):
            assert len(drawn) == epochs * visits[i]
            assert set(drawn) == set(indices[i, : k[i]].tolist())


def test_neighbours_grow_from_round_to_round(world, tmp_path, capsys):
    options = in_neighbours(100, 30, 240)
    harden(world, "-", tmp_path / "1", "--k0", 50, *options)
    harden(world, tmp_path / "1", tmp_path / "2", *options)
    target = ImageLmdb(str(world.target))
    steps = np.array([0, 30, 100])[STEPS]
    for name, times in (("1", 1), ("2", 2)):
        levels = read_levels(str(tmp_path / name), target)
        assert levels.neighbours is not None
        assert levels.neighbours.tolist() == np.minimum(50 + times * steps, 240).tolist()
        assert levels.levels.tolist() == [1] * len(CASES)
    assert "  K_i before     after    images\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (("--delta", 0), [1, 1, 2, 1, 1, 1, 2, 2]),
        (("--delta", 50), [0, 0, 2, 0, 0, 0, 2, 2]),
        (("--delta-quantile", 1), [0, 0, 2, 0, 0, 1, 2, 2]),
        (("--sigma0", 5, "--sigma1", 3), [0, 0, 5, 0, 3, 3, 5, 5]),
        (("--most", 2), [0, 0, 1, 0, 1, 1, 1, 1]),
        (("--crops", 10), STEPS.tolist()),
    ],
)
def test_options(world, tmp_path, options, steps):
    harden(world, "-", tmp_path / "levels", *options)
    assert levels_of(world, tmp_path / "levels") == (1 + np.array(steps)).tolist()


def test_scores_are_kept(world, tmp_path):
    harden(world, "-", tmp_path / "levels", "--scores", tmp_path / "scores.npz")
    scores = np.load(tmp_path / "scores.npz")["scores"]
    np.testing.assert_allclose(scores, world.probabilities, atol=1e-6)


# ---- pure functions


def test_entropies():
    p = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]])
    expected = [0, math.log(4), math.log(2), -(0.7 * math.log(0.7) + 0.3 * math.log(0.1))]
    np.testing.assert_allclose(entropies(p), expected, atol=1e-15)


def test_delta():
    found = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert choose_delta(found, 10, 0.5, None) == 0.5
    assert choose_delta(found, 10, None, 0.75) == 3
    assert choose_delta(found, 102, None, None) == pytest.approx(0.1 * math.log(102))


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(6, 0.15), 300)
    labels = np.where(rng.random(300) < 0.6, scores.argmax(axis=1), rng.integers(0, 6, 300))
    reach = rng.integers(1, 9, 300)
    after = grown(reach, judge(scores, labels, 0.4), 3, 1, 7)
    for i in range(300):
        entropy = -sum(p * math.log(p) for p in scores[i] if p > 0)
        is_right = all(scores[i, labels[i]] > scores[i, c] for c in range(6) if c != labels[i])
        step = 3 if not is_right else 1 if entropy >= 0.4 else 0
        assert after[i] == max(reach[i], min(reach[i] + step, 7))
    assert sum(n for _, _, n in transitions(reach, after)) == 300
    for a, b, n in transitions(reach, after):
        assert n == ((reach == a) & (after == b)).sum()


# ---- what is refused


def refused(world: World, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        harden(world, *arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.split("error: ")[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sigma0", 1), "--sigma0 is 1 and --sigma1 1: expected sigma0 > sigma1"),
        (("--most", 11), "--most is 11, expected levels up to 10"),
        (("--delta", -1), "--delta is -1.0, expected an entropy in nats from 0 on"),
        (("--delta", "nan"), "--delta is nan, expected"),
        (("--delta-quantile", 75), "--delta-quantile is 75.0, expected 0 to 1"),
        (("--delta", 1, "--delta-quantile", 0.5), "not allowed with argument --delta"),
        (("--k0", 100), "expected --sigma0, --sigma1 and --most, in neighbours"),
        (("--crops", "dense"), "invalid choice: 'dense'"),
    ],
)
def test_bad_options(world, tmp_path, capsys, options, message):
    assert message in refused(world, capsys, "-", tmp_path / "levels", *options)
    assert os.listdir(tmp_path) == []


def test_levels_that_do_not_fit(world, tmp_path, capsys):
    image = np.zeros((8, 8, 3), np.uint8)
    other = ImageLmdb(str(write_image_lmdb(tmp_path / "other", [image], [0])))
    write_levels(str(tmp_path / "others"), np.array([1]), other)
    out = tmp_path / "out"
    message = refused(world, capsys, tmp_path / "others", out)
    assert "was written for another target LMDB than" in message
    assert "cannot be read" in refused(world, capsys, tmp_path / "no", out)
    target, count = ImageLmdb(str(world.target)), len(CASES)
    write_levels(str(tmp_path / "k"), np.ones(count, int), target, False, np.full(count, 9))
    options = ("--k0", 9, *in_neighbours(9, 5, 12))
    message = refused(world, capsys, tmp_path / "k", out, *options)
    assert "states every image's number of neighbours already: expected no --k0" in message
    message = refused(world, capsys, tmp_path / "k", tmp_path / "k", *options, "--force")
    assert "are one file" in message
    assert "exists: give --force" in refused(world, capsys, "-", tmp_path / "k")
    assert not out.exists()
