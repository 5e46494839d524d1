"""`sjft random-neighbours`: fair deals, the same for one seed, and batches drawn from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from sjft.batches import JointBatches
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.exclusion import write_exclusions
from sjft_tools.random_neighbours import deal, draw_pool


@pytest.mark.parametrize(("targets", "k", "size"), [(5, 4, 20), (7, 3, 10), (9, 6, 7), (4, 5, 5)])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_image_is_dealt_equally_often_and_never_twice_to_one(targets, k, size, seed):
    pool = np.arange(100, 100 + size)
    hands = deal(targets, k, pool, seed)
    assert hands.shape == (targets, k) and hands.dtype == np.int64
    counts = np.bincount(hands.ravel() - 100, minlength=size)
    assert counts.max() - counts.min() <= 1
    assert all(len(set(hand)) == k for hand in hands.tolist())
    np.testing.assert_array_equal(hands, deal(targets, k, pool, seed))
    if k < size:
        assert (hands != deal(targets, k, pool, seed + 10)).any()


def test_hands_are_random():
    """Over many seeds each of ten images is the first target's neighbour three times in ten."""
    hands = np.concatenate([deal(4, 3, np.arange(10), seed)[0] for seed in range(2000)])
    share = np.bincount(hands, minlength=10) / 2000
    assert np.abs(share - 0.3).max() < 0.05  # five standard deviations


def test_the_pool_is_a_random_subset():
    pool = draw_pool(np.arange(50, 80), 10, seed=3)
    assert len(set(pool.tolist())) == 10 and (np.diff(pool) > 0).all()
    assert set(pool.tolist()) <= set(range(50, 80))
    assert (pool != draw_pool(np.arange(50, 80), 10, seed=4)).any()
    with pytest.raises(InputError, match="31 source images are more than there are to draw from"):
        draw_pool(np.arange(50, 80), 31, seed=3)


@pytest.fixture
def bases(tmp_path) -> Path:
    for name, count in (("target", 6), ("source", 15)):
        images = [draw_image(i) for i in range(count)]
        write_image_lmdb(tmp_path / name, images, [i % 3 for i in range(count)])
    return tmp_path


def test_training_draws_from_random_neighbours(bases):
    arguments = ("target", "source", "random", "--k", 3, "--images", 9, "--seed", 5)
    output = run_sjft("random-neighbours", *arguments, cwd=bases)
    assert "random: 3 random source images for each of 6 images, 9 different ones of 15" in output
    neighbours = NeighbourLmdb(str(bases / "random"))
    source = ImageLmdb(str(bases / "source"))
    neighbours.check_matches(ImageLmdb(str(bases / "target")), source)
    assert (neighbours.info["bank"], neighbours.info["seed"]) == ("random", 5)
    assert (neighbours.info["pool"], neighbours.info["excluded"]) == (9, 0)
    pool = draw_pool(np.arange(15), 9, 5)
    expected = deal(6, 3, pool, 5)
    found = np.stack([neighbours.indices(i) for i in range(6)])
    np.testing.assert_array_equal(found, expected)
    params = {name: str(bases / name) for name in ("target", "source")}
    params.update(neighbours=str(bases / "random"), batch_size=4, k0=3, crop=32, workers=0)
    batches = JointBatches(parse_joint_data(json.dumps(params)), 0, 1)
    assert "9 of 15 source images selected, in 3 classes" in batches.summary()


def test_force_does_not_replace_an_input(bases):
    before = ImageLmdb(str(bases / "target")).fingerprint
    arguments = ("target", "source", "target", "--k", 3, "--force")
    message = run_sjft("random-neighbours", *arguments, status=2, cwd=bases)
    assert "the output target has the format 'sjft image lmdb 1': --force replaces only" in message
    assert ImageLmdb(str(bases / "target")).fingerprint == before


def test_excluded_images_are_not_drawn(bases):
    source = ImageLmdb(str(bases / "source"))
    left_out = [0, 3, 4, 11]
    write_exclusions(str(bases / "leaks.txt"), source, left_out, ["a test image"] * 4)
    arguments = ("target", "source", "random", "--k", 11, "--exclude", "leaks.txt")
    run_sjft("random-neighbours", *arguments, cwd=bases)
    neighbours = NeighbourLmdb(str(bases / "random"))
    drawn = {int(j) for i in range(6) for j in neighbours.indices(i)}
    assert drawn == set(range(15)) - set(left_out)
    message = run_sjft("random-neighbours", *arguments, "--force", "--k", 12, status=2, cwd=bases)
    assert "--k 12 is larger than the 11 source images to draw from" in message
