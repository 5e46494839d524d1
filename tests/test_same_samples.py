"""Batch i of rank r is a pure function of (seed, i, r): over a grid of everything else."""

from __future__ import annotations

import hashlib
import itertools
import json
import math

import numpy as np
import pytest

from joint_world import TARGETS, World, make_world
from sjft.batches import Batches, JointBatches, TargetBatches
from sjft.layer_params import PrefetchParams, parse_joint_data, parse_target_data
from sjft.prefetch import open_stream
from sjft.sampling import JointSampler
from sjft.selection import select
from whole_batches import batch_of, blank

BATCHES = 9

#: The plan of batch 0 of rank 0 of 2 in the test below, and the SHA-256 of eight plans.
FIRST_TARGETS = [21, 26, 4, 8, 13, 29]
FIRST_SOURCES = [50, 46, 36, 51, 11, 18]
ALL_PLANS = "27cd97fb15572d7319a095ea5fb93ccaf196dd8c53df68e343be4ea5537f5d8e"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def digest(batch: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in batch.values())).hexdigest()


def streamed(batches: Batches, workers: int, depth: int, first: int = 0) -> list[str]:
    stream = open_stream(batches, PrefetchParams(workers, depth, 1 << 24, 30), first)
    seen = []
    for _ in range(first, BATCHES):
        out = blank(batches)
        stream.next_into(out)
        seen.append(digest(out))
    stream.close()
    return seen


def alone(batches: Batches, number: int) -> str:
    return digest(batch_of(batches, number))


def joint(world: World, seed: int, rank: int, ranks: int) -> JointBatches:
    params = parse_joint_data(world.param_str(seed=seed, resize=None, resize_shorter=[33, 40]))
    return JointBatches(params, rank, ranks)


def target(world: World, rank: int, ranks: int, **keys: object) -> TargetBatches:
    settings = {"target": world.target, "batch_size": 5, "crop": 32, **keys}
    train = keys.get("seed") is not None
    return TargetBatches(parse_target_data(json.dumps(settings), train), rank, ranks)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("rank, ranks", [(0, 1), (0, 3), (2, 3)])
def test_joint_batches_over_the_grid(world: World, seed: int, rank: int, ranks: int) -> None:
    expected = [alone(joint(world, seed, rank, ranks), number) for number in range(BATCHES)]
    assert len(set(expected)) == BATCHES
    backwards = joint(world, seed, rank, ranks)
    assert [alone(backwards, n) for n in reversed(range(BATCHES))] == expected[::-1]
    for workers, depth in itertools.product((0, 1, 2, 5), (1, 2, 7)):
        assert streamed(joint(world, seed, rank, ranks), workers, depth) == expected
    for first in (1, 4, 8):
        assert streamed(joint(world, seed, rank, ranks), 2, 3, first) == expected[first:]


@pytest.mark.parametrize("keys", [{"seed": 4}, {}], ids=["TRAIN", "TEST"])
def test_target_batches_over_the_grid(world: World, keys: dict) -> None:
    expected = [alone(target(world, 0, 1, **keys), number) for number in range(BATCHES)]
    for workers, depth, first in itertools.product((0, 1, 3), (1, 4), (0, 5)):
        assert streamed(target(world, 0, 1, **keys), workers, depth, first) == expected[first:]
    if not keys:  # 14 images, 5 a batch: after 14 batches from the first image on again
        wrapped = target(world, 0, 1)
        assert [alone(wrapped, number + TARGETS) for number in range(BATCHES)] == expected


def test_seeds_and_ranks_differ(world: World) -> None:
    seen = {
        alone(joint(world, seed, rank, 3), number)
        for seed in (1, 2)
        for rank in range(3)
        for number in range(5)
    }
    assert len(seen) == 2 * 3 * 5


def sampler(levels: np.ndarray, pairs: int, limit: int | None, seed: int) -> JointSampler:
    count, k = len(levels), 6
    rng = np.random.default_rng(0)
    neighbours = np.concatenate([rng.choice(60, k, replace=False) for _ in range(count)])
    sizes = np.full(count, k, np.int64)
    labels = (np.arange(60) % 4).astype(np.int32)
    selection = select(neighbours.astype(np.int32), sizes, labels, 0, str)
    return JointSampler(np.arange(count) % 7, levels, selection, pairs, limit, 2, seed)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("pairs", [1, 3, 4, 16])
@pytest.mark.parametrize("count, most", [(16, 1), (21, 3), (50, 10)])
def test_the_ranks_together_see_each_epoch_exactly_once(
    ranks: int, pairs: int, count: int, most: int
) -> None:
    levels = np.random.default_rng(count).integers(1, most + 1, count)
    length = int(levels.sum())
    parts = sampler(levels, pairs, None, seed=3)
    step = ranks * pairs
    epochs = math.lcm(length, step) // length
    stream = []
    shares = [0] * ranks
    for batch in range(epochs * length // step):
        for rank in range(ranks):
            taken = parts.plan(batch, rank, ranks).targets
            stream.append(taken)
            shares[rank] += len(taken)
    slots = np.concatenate(stream).reshape(epochs, length)
    for epoch in slots:
        assert np.array_equal(np.bincount(epoch, minlength=count), levels)
    assert len(set(shares)) == 1
    assert epochs == 1 or not np.array_equal(slots[0], slots[1])


def test_the_plan_is_the_same_on_every_machine() -> None:
    """The very numbers, whatever the versions of Python and numpy or the processor."""
    parts = sampler(np.arange(1, 11).repeat(3), pairs=6, limit=2, seed=42)
    plans = [parts.plan(batch, rank, 2) for batch in (0, 1, 1000, 10**6) for rank in (0, 1)]
    text = json.dumps([[array.tolist() for array in plan] for plan in plans])
    assert plans[0].targets.tolist() == FIRST_TARGETS
    assert plans[0].sources.tolist() == FIRST_SOURCES
    assert hashlib.sha256(text.encode()).hexdigest() == ALL_PLANS
