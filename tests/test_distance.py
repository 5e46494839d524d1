"""The distance against a literal reading of the method."""

from __future__ import annotations

import math

import numpy as np
import pytest

from descriptors import BINS, LAYERS, draw_descriptors
from sjft_tools.distance import EPS, Distance


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


def test_exact_distance_is_the_methods() -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 6), draw_descriptors(2, 8)
    for q in sources:
        found = distance.exact(targets, q)
        assert found.tolist() == pytest.approx([literal(p, q) for p in targets], rel=1e-12)
        assert found.tolist() == [distance.exact(q[None], p)[0] for p in targets]
        assert found.tolist() == [distance.exact(p[None], q)[0] for p in targets]
        assert distance.exact(q[None], q) == 0
