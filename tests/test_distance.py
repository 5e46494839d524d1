"""The distance, the running top-K and the matching, against literal float64 brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sjft_tools import matching, top_k
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import EPS, Distance
from sjft_tools.matching import ExactMatcher, nearest

LAYERS = (Layer("a", 3, 40, 0.5 / 3), Layer("b", 5, 12, 0.5 / 5))
BINS = 7


def draw_descriptors(seed: int, count: int, layers=LAYERS, bins: int = BINS) -> np.ndarray:
    """Counts of random histograms, count x dimensions uint16, with empty bins among them."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.multinomial(layer.pixels, rng.dirichlet(np.full(bins, 0.7)), (count, layer.channels))
        for layer in layers
    ]
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1).astype(np.uint16)


def literal(p: np.ndarray, q: np.ndarray, layers=LAYERS, bins: int = BINS) -> float:
    """Section 3 word by word: two Kullback-Leibler divergences a channel, in Python floats."""
    total, start = 0.0, 0
    for layer in layers:
        for _ in range(layer.channels):
            for a, b in zip(p[start : start + bins].tolist(), q[start : start + bins].tolist()):
                a, b = a / layer.pixels, b / layer.pixels
                ratio = math.log((a + EPS) / (b + EPS))
                total += layer.weight / 2 * (a * ratio - b * ratio)
            start += bins
    return total


def brute_force(
    distance: Distance, targets: np.ndarray, sources: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    exact = np.array([distance.exact(targets, q) for q in sources]).T
    indices = np.array([np.lexsort((np.arange(len(row)), row))[:k] for row in exact])
    return indices, np.take_along_axis(exact, indices, axis=1).astype(np.float32)


def match(
    distance: Distance, targets: np.ndarray, sources: np.ndarray, k: int, block: int, part: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    exact = ExactMatcher(distance, targets, lambda indices: sources[indices], batch=3)
    stream = (sources[i : i + part] for i in range(0, len(sources), part))
    return nearest(distance, targets, stream, k, exact, block)


def test_exact_distance_is_the_methods() -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 6), draw_descriptors(2, 8)
    for q in sources:
        found = distance.exact(targets, q)
        assert found.tolist() == pytest.approx([literal(p, q) for p in targets], rel=1e-12)
        assert found.tolist() == [distance.exact(q[None], p)[0] for p in targets]
        assert found.tolist() == [distance.exact(p[None], q)[0] for p in targets]
        assert distance.exact(q[None], q) == 0


def test_pairs_are_within_the_bound() -> None:
    layers = (Layer("a", 30, 2916, 0.5 / 30), Layer("b", 40, 676, 0.5 / 40))
    distance = Distance(layers, 100)
    targets = draw_descriptors(1, 5, layers, 100)
    sources = draw_descriptors(2, 7, layers, 100)
    # The hardest case: all pixels in one bin, and never the same one.
    edge = np.zeros_like(sources[:1])
    edge[0, ::100] = [2916] * 30 + [676] * 40
    sources = np.concatenate([sources, edge, targets[:1]])
    exact = np.array([distance.exact(targets, q) for q in sources]).T
    assert distance.bound < 1e-10
    assert np.abs(distance.pairs(targets, sources) - exact).max() < distance.bound / 10
    assert (exact[0] > 0).sum() == len(sources) - 1


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("target_block", [4, 1000])
def test_neighbours_equal_brute_force(
    block: int, target_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "TARGET_BLOCK", target_block)
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 9), draw_descriptors(2, 150)
    # Duplicates far apart, some of a target itself.
    sources[[140, 3, 77]] = sources[20]
    sources[[149, 0]] = targets[4]
    for k in (1, 10, 149, 150):
        indices, distances = match(distance, targets, sources, k, block)
        expected_indices, expected_distances = brute_force(distance, targets, sources, k)
        assert (indices == expected_indices).all()
        assert (distances == expected_distances).all()
        assert indices.dtype == np.int64
        assert distances.dtype == np.float32


@pytest.mark.parametrize("block", [1, 13, 500])
def test_ties_beyond_the_margin_are_settled(block: int) -> None:
    # Few distinct descriptors, each many times: far more ties at the k-th place than are kept.
    distance = Distance(LAYERS, BINS)
    targets = draw_descriptors(1, 4)
    sources = draw_descriptors(2, 5)[np.random.default_rng(3).integers(0, 5, 400)]
    for k in (1, 30, 200):
        indices, distances = match(distance, targets, sources, k, block)
        expected_indices, expected_distances = brute_force(distance, targets, sources, k)
        assert (indices == expected_indices).all()
        assert (distances == expected_distances).all()


def test_distances_equal_in_theory_tie() -> None:
    # Sources that are permutations of each other, seen from a target with equal bins.
    layers = (Layer("a", 2, 8, 0.5),)
    distance = Distance(layers, 4)
    target = np.full((1, 8), 2, np.uint16)
    rng = np.random.default_rng(0)
    row = np.array([5, 2, 1, 0])
    sources = np.array(
        [np.concatenate([rng.permutation(row), rng.permutation(row)]) for _ in range(90)]
    )
    indices, distances = match(distance, target, sources.astype(np.uint16), 20, 32)
    assert indices[0].tolist() == list(range(20))
    assert len(set(distances[0].tolist())) == 1


def test_blocks_may_come_in_any_order() -> None:
    rng = np.random.default_rng(0)
    exact = rng.integers(0, 40, (6, 120)) / 8
    noise = rng.uniform(-1e-9, 1e-9, exact.shape)
    top = top_k.TopK(6, 25, 1e-9, lambda targets, sources: exact[targets, sources])
    for start in rng.permutation(np.arange(0, 120, 8)):
        for rows in (slice(3, 6), slice(0, 3)):
            part = exact[rows, start : start + 8] + noise[rows, start : start + 8]
            top.offer(rows.start, int(start), part)
    indices, distances = top.result()
    for row in range(6):
        expected = np.lexsort((np.arange(120), exact[row]))[:25]
        assert indices[row].tolist() == expected.tolist()
        assert distances[row].tolist() == exact[row, expected].tolist()
