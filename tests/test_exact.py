"""Exact distances of single pairs, compiled and not, against the distance's definition."""

from __future__ import annotations

import numpy as np
import pytest

from descriptors import draw_descriptors, exact_distances, hide_kernels
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching import exact as exact_module
from sjft_tools.matching.exact import ExactPairs, compiled_kernels
from sjft_tools.matching.products import DeviceProduct

CASES = {
    "small counts": (Layer("a", 3, 40, 0.5 / 3), Layer("b", 5, 12, 0.5 / 5)),
    "counts around 255": (Layer("a", 7, 2916, 0.5 / 7), Layer("b", 3, 676, 0.5 / 3)),
    "maps of more than 65,535 pixels": (Layer("a", 4, 100_000, 0.25),),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_definition_bit_for_bit(
    case: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled:
        pytest.importorskip("numba")
    else:
        hide_kernels(monkeypatch)
    assert (compiled_kernels() is not None) == compiled
    monkeypatch.setattr(exact_module, "_PART", 16)
    layers, bins = CASES[case], 7
    distance = Distance(layers, bins)
    targets, sources = (draw_descriptors(seed, 12, layers, bins) for seed in (1, 2))
    # All pixels in one bin, in another one, and all but one or two of 255.
    for row, descriptors in ((0, targets), (1, sources)):
        start = 0
        for layer in layers:
            descriptors[:2, start : start + layer.channels * bins] = 0
            descriptors[0, start + row : start + layer.channels * bins : bins] = layer.pixels
            small = min(layer.pixels, 254 + row)
            descriptors[1, start : start + layer.channels * bins : bins] = small
            descriptors[1, start + 3 : start + layer.channels * bins : bins] = layer.pixels - small
            start += layer.channels * bins
    if case == "counts around 255":
        assert {254, 255} <= set(np.concatenate([targets, sources]).ravel().tolist())
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, 12, 200), np.sort(rng.integers(0, 12, 200))
    rows[:4], columns[:4] = (0, 0, 1, 1), (0, 1, 0, 1)
    found = ExactPairs(distance, targets)(sources, rows, columns)
    assert found.tolist() == exact_distances(distance, targets, sources)[rows, columns].tolist()
    if compiled:
        pytest.importorskip("torch")
        monkeypatch.setattr("sjft_tools.matching.device_pairs._MOST_NUMBERS", 1000)
        pairs = DeviceProduct("cpu").load(distance, targets)
        assert pairs.exact(sources, rows, columns).tolist() == found.tolist()
    assert ExactPairs(distance, targets)(sources, rows[:0], columns[:0]).shape == (0,)
