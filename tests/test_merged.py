"""Merged bins: what becomes of counts, and the lower bound that they give."""

from __future__ import annotations

import numpy as np
import pytest

from descriptors import draw_descriptors, exact_distances, hide_kernels
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching.merged import MergedBins, runs
from sjft_tools.matching.operands import slabs

LAYERS = (Layer("a", 5, 2916, 0.5 / 5), Layer("b", 8, 676, 0.5 / 8))


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 20, 32, 100, 1000])
def test_runs_part_all_bins_and_are_shorter_at_the_ends(bins: int) -> None:
    ends = runs(bins)
    assert (ends[0], ends[-1]) == (0, bins)
    widths = np.diff(ends)
    assert (widths >= 1).all()
    assert len(widths) <= max(2, bins / 6)
    if bins > 20:
        assert widths[0] < widths[len(widths) // 2] > widths[-1]


@pytest.mark.parametrize("compiled", [True, False])
def test_counts_are_summed(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled:
        pytest.importorskip("numba")
    else:
        hide_kernels(monkeypatch)
    counts = draw_descriptors(1, 6, LAYERS, 32)
    ends = runs(32)
    merged = MergedBins(Distance(LAYERS, 32))(counts)
    assert merged.dtype == counts.dtype
    for row, merged_row in zip(counts, merged):
        channels = np.split(row, 13)
        expected = [channel[i:j].sum() for channel in channels for i, j in zip(ends, ends[1:])]
        assert merged_row.tolist() == expected


def merged_distances(distance: Distance, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """The distances of descriptors whose bins are merged, by the tables of their slabs: T x S."""
    merge = MergedBins(distance)
    p, q = merge(targets), merge(sources)
    total = np.zeros((len(p), len(q)))
    for fine in slabs(distance):
        slab = merge.slab(fine)
        share, log = slab.share.astype(np.float64), slab.log.astype(np.float64)
        factor = next(layer.factor for layer in distance.layers if fine.start < layer.stop)
        a, b = p[:, None, slab.start : slab.stop], q[None, :, slab.start : slab.stop]
        total += factor * ((share[a] - share[b]) * (log[b] - log[a])).sum(axis=2)
    return total


def test_the_bound_is_low_and_of_use() -> None:
    distance = Distance(LAYERS, 100)
    drawn = draw_descriptors(1, 40, LAYERS, 100)
    # Descriptors at the ends of the range: all pixels in one bin, or in the next one.
    ends = np.zeros((4, distance.dimensions), np.uint16)
    for row, (first, moved) in enumerate(((0, 0), (1, 0), (99, 0), (0, 1))):
        for layer, tables in zip(LAYERS, distance.layers):
            ends[row, tables.start + first : tables.stop : 100] = layer.pixels - moved
            ends[row, tables.start + 50 : tables.stop : 100] += np.uint16(moved)
    descriptors = np.concatenate([drawn, ends])
    exact = exact_distances(distance, descriptors, descriptors)
    bound = merged_distances(distance, descriptors, descriptors)
    assert (bound <= exact + 1e-5).all()
    assert bound[40, 42] > 0.85 * exact[40, 42] > 1
    # Histograms that differ in shape, not only from bin to bin.
    ramps = np.stack(
        [
            np.concatenate(
                [
                    np.random.default_rng(seed).multinomial(layer.pixels, weights / weights.sum())
                    for layer in LAYERS
                    for _ in range(layer.channels)
                ]
            )
            for seed, slope in enumerate(np.linspace(-0.9, 0.9, 7))
            for weights in (1 + slope * np.linspace(-1, 1, 100),)
        ]
    ).astype(np.uint16)
    exact = exact_distances(distance, ramps, ramps)
    bound = merged_distances(distance, ramps, ramps)
    assert (bound <= exact + 1e-5).all()
    assert bound[0, -1] > 0.4 * exact[0, -1]
