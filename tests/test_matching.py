"""Neighbours by the fast matching against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from descriptors import BINS, LAYERS, brute_force, draw_descriptors
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching.candidates import Candidates
from sjft_tools.matching.matcher import Matcher, match_all
from sjft_tools.matching.products import make_product
from sjft_tools.top_k import merge


def match(
    distance: Distance,
    targets: np.ndarray,
    sources: np.ndarray,
    k: int,
    block: int = 64,
    parts: int = 1,
    limits: np.ndarray | None = None,
    at_a_time: int = 5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """merge() of `parts` parts of the sources, which come `at_a_time`, in reverse order."""
    if limits is None:
        limits = np.full(len(targets), np.inf)
    found: list[Candidates] = []
    for positions in np.array_split(np.arange(len(sources)), parts):
        matcher = Matcher(distance, targets, limits, make_product())
        stream = (
            (positions[i : i + at_a_time], sources[positions[i : i + at_a_time]])
            for i in range(0, len(positions), at_a_time)
        )
        found.append(match_all(matcher, stream, len(targets), k, block))
    return merge(reversed(found), len(targets), k)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("parts", [1, 4])
def test_neighbours_equal_brute_force(block: int, parts: int) -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 9), draw_descriptors(2, 150)
    # Duplicates far apart, some of a target itself.
    sources[[140, 3, 77]] = sources[20]
    sources[[149, 0]] = targets[4]
    for k in (1, 10, 149, 150):
        indices, distances, counts = match(distance, targets, sources, k, block, parts)
        expected_indices, expected_distances = brute_force(distance, targets, sources, k)
        assert (indices == expected_indices).all()
        assert (distances == expected_distances).all()
        assert indices.dtype == np.int64
        assert distances.dtype == np.float64
        assert counts.tolist() == [k] * 9


@pytest.mark.parametrize("block", [1, 13, 500])
def test_ties_are_told_apart_by_position(block: int) -> None:
    # Few distinct descriptors, each many times.
    distance = Distance(LAYERS, BINS)
    targets = draw_descriptors(1, 4)
    sources = draw_descriptors(2, 5)[np.random.default_rng(3).integers(0, 5, 400)]
    for k in (1, 30, 200):
        indices, distances, _ = match(distance, targets, sources, k, block, parts=3)
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
    indices, distances, _ = match(distance, target, sources.astype(np.uint16), 20, 32)
    assert indices[0].tolist() == list(range(20))
    assert len(set(distances[0].tolist())) == 1
