"""Drawn descriptors, and their neighbours by brute force, for the tests of the matching."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance

LAYERS = (Layer("a", 3, 40, 0.5 / 3), Layer("b", 5, 12, 0.5 / 5))
BINS = 7


def draw_descriptors(
    seed: int, count: int, layers: Sequence[Layer] = LAYERS, bins: int = BINS
) -> np.ndarray:
    """Counts of random histograms, count x dimensions, with empty bins among them."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.multinomial(layer.pixels, rng.dirichlet(np.full(bins, 0.7)), (count, layer.channels))
        for layer in layers
    ]
    dtype = np.uint16 if max(layer.pixels for layer in layers) < 65536 else np.uint32
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1).astype(dtype)


def exact_distances(distance: Distance, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """All exact distances: T x S float64."""
    return np.array([distance.exact(targets, q) for q in sources]).T


def brute_force(
    distance: Distance, targets: np.ndarray, sources: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each target's `k` nearest sources, T x k int64, and their distances, T x k float64."""
    exact = exact_distances(distance, targets, sources)
    indices = np.array([np.lexsort((np.arange(len(row)), row))[:k] for row in exact])
    return indices, np.take_along_axis(exact, indices, axis=1)


def hide_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the compiled kernels fail to be imported, as they do where there is no numba."""
    monkeypatch.setitem(sys.modules, "sjft_tools.matching.kernels", None)
    monkeypatch.delattr("sjft_tools.matching.kernels", raising=False)
