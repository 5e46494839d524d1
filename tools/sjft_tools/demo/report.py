"""What the demo found: per seed and over seeds, as a table and as JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.demo import glyphs


@dataclass(frozen=True)
class SeedResult:
    """One seed's outcome. Shares and accuracies in 0..1."""

    seed: int
    glyph_share: float  # of the k0 nearest neighbours of all targets; the source's own share is 0.5
    accuracy: dict[str, float]  # top-1 on the test images, by way of training
    train_seconds: dict[str, float]


def glyph_share(neighbours: str, source: str, k0: int) -> float:
    """Return which part of all targets' first `k0` neighbours are glyphs, not textures."""
    images = ImageLmdb(source)
    is_glyph = np.array([name in glyphs.CLASS_NAMES for name in images.class_names])
    lists = NeighbourLmdb(neighbours)
    found = np.concatenate([lists.indices(i, k0) for i in range(lists.count)])
    return float(is_glyph[images.labels[found]].mean())


def summary(results: list[SeedResult], titles: dict[str, str]) -> dict[str, Any]:
    """Return the figures for the JSON summary; accuracies and gain in 0..1."""
    return {
        "seeds": [vars(result) for result in results],
        "accuracy": {way: _spread([r.accuracy[way] for r in results]) for way in titles},
        "gain": _spread(gains(results)),
        "glyph_share": _spread([r.glyph_share for r in results]),
    }


def gains(results: list[SeedResult]) -> list[float]:
    """Return, per seed, selective joint training's accuracy less target-only training's."""
    return [r.accuracy["joint"] - r.accuracy["target_only"] for r in results]


def table(results: list[SeedResult], titles: dict[str, str]) -> str:
    """Return the comparison as text: a line per seed, then mean and standard deviation."""
    heads = ["seed", *titles.values(), "gain", "glyphs among neighbours"]
    rows = [
        [str(r.seed)]
        + [_percent(r.accuracy[way]) for way in titles]
        + [f"{100 * gain:+.1f}", _percent(r.glyph_share)]
        for r, gain in zip(results, gains(results))
    ]
    if len(results) > 1:
        accuracies = [_spread([r.accuracy[way] for r in results]) for way in titles]
        gain, share = _spread(gains(results)), _spread([r.glyph_share for r in results])
        means = [_percent(spread["mean"]) for spread in accuracies]
        rows.append(["mean", *means, f"{100 * gain['mean']:+.1f}", _percent(share["mean"])])
        spreads = [*accuracies, gain, share]
        rows.append(["sd", *(f"{100 * spread['deviation']:.1f}" for spread in spreads)])
    widths = [max(map(len, column)) for column in zip(heads, *rows)]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths)) for row in [heads, *rows]]
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _spread(values: list[float]) -> dict[str, float]:
    """Return mean and standard deviation (of the sample; 0 for a single value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "deviation": deviation}
