"""What the demo found: per seed and over seeds, as tables."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.demo import glyphs


@dataclass(frozen=True)
class SeedResult:
    """One seed's outcome. Shares and top-1 accuracies on the test images in 0..1."""

    seed: int
    glyph_share: float  # of the k0 nearest neighbours of all targets; the source's own share is 0.5
    rounds: list[float]  # accuracy after each round of selective joint training
    others: dict[str, float]  # accuracy of what it is compared with, by the training's name


def glyph_share(neighbours: str, source: str, k0: int) -> float:
    """Return which part of all targets' first `k0` neighbours are glyphs, not textures."""
    images = ImageLmdb(source)
    is_glyph = np.array([name in glyphs.CLASS_NAMES for name in images.class_names])
    lists = NeighbourLmdb(neighbours)
    found = np.concatenate([lists.indices(i, k0) for i in range(lists.count)])
    return float(is_glyph[images.labels[found]].mean())


@dataclass(frozen=True)
class _Column:
    head: str
    values: list[float]  # one a seed
    is_difference: bool = False

    def shown(self, value: float) -> str:
        return f"{100 * value:+.1f}" if self.is_difference else f"{100 * value:.1f} %"


def comparison(results: list[SeedResult]) -> str:
    """Return as text: target only, joint with random images if there, joint in rounds, the gain."""
    alone = [r.others["target_only"] for r in results]
    first, last = [r.rounds[0] for r in results], [r.rounds[-1] for r in results]
    columns = [_Column("target only", alone)]
    if "random_joint" in results[0].others:
        drawn = [r.others["random_joint"] for r in results]
        columns.append(_Column("joint, random source", drawn))
    columns += [
        _Column("selective joint, round 1", first),
        _Column("after the rounds", last),
        _difference("gain", last, alone),
        _Column("glyphs among neighbours", [r.glyph_share for r in results]),
    ]
    return _table(results, columns)


def what_rounds_add(results: list[SeedResult]) -> str:
    """Return as text each round's accuracy, and beside it that of training without hard samples.

    Where no neighbourhood grew any more, training did not go on: the last round stands for later
    ones.
    """
    columns = [_Column("round 1", [r.rounds[0] for r in results])]
    numbers = range(2, 2 + sum(name.startswith("unhardened_") for name in results[0].others))
    for number in numbers:
        hard = [r.rounds[min(number, len(r.rounds)) - 1] for r in results]
        same = [r.others[f"unhardened_{number}"] for r in results]
        columns += [_Column(f"round {number}", hard), _Column("without hard samples", same)]
        columns.append(_difference("difference", hard, same))
    return _table(results, columns)


def _difference(head: str, values: list[float], others: list[float]) -> _Column:
    return _Column(head, [a - b for a, b in zip(values, others)], is_difference=True)


def _table(results: list[SeedResult], columns: list[_Column]) -> str:
    """Return a line per seed, then, of several, mean and standard deviation (of the sample)."""
    rows = [["seed", *(column.head for column in columns)]]
    for place, result in enumerate(results):
        rows.append([str(result.seed), *(c.shown(c.values[place]) for c in columns)])
    if len(results) > 1:
        rows.append(["mean", *(c.shown(statistics.fmean(c.values)) for c in columns)])
        deviations = (f"{100 * statistics.stdev(c.values):.1f}" for c in columns)
        rows.append(["sd", *deviations])
    widths = [max(map(len, cells)) for cells in zip(*rows)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths)) for row in rows)
