"""Matching blocks of sources against all targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sjft_tools.distance import Distance
from sjft_tools.matching.candidates import Candidates, Collector
from sjft_tools.matching.products import Product
from sjft_tools.overlap import in_order


class Matcher:
    """Finds the pairs of `targets` and sources whose exact distance is within the targets' limits.

    `targets`: counts, T x dimensions; `limits`: float64 (T,), infinite where there is none. The
    targets' operands stay in memory: 10 bytes for each of T x dimensions.
    """

    def __init__(
        self, distance: Distance, targets: np.ndarray, limits: np.ndarray, product: Product
    ) -> None:
        self._limits = limits.copy()
        self._pairs = product.load(distance, targets)
        self.block, self.at_once = self._pairs.block, self._pairs.at_once
        """Sources that match() best takes at a time, and threads that best call it side by side."""

    def renew(self, limits: np.ndarray) -> None:
        """Set the limits to `limits`, float64 (T,), whether they are lower or higher."""
        self._limits = limits.copy()

    def tighten(self, limits: np.ndarray) -> None:
        """Lower the limits to `limits`, float64 (T,), where those are lower."""
        np.minimum(self._limits, limits, out=self._limits)

    def match(self, positions: np.ndarray, counts: np.ndarray) -> Candidates:
        """Return all pairs whose exact distance is at most the target's limit, in no given order.

        `positions`: int64 (S,), which sources these are; `counts`: their descriptors, S x
        dimensions.
        """
        rows, columns = self._pairs.within(counts, self._limits)
        distances = self._pairs.exact(counts, rows, columns)
        kept = distances <= self._limits[rows]
        rows, columns = rows[kept], columns[kept]
        return Candidates(rows.astype(np.int32), positions[columns], distances[kept])


def match_all(
    matcher: Matcher,
    sources: Iterable[tuple[np.ndarray, np.ndarray]],
    targets: int,
    k: int,
    block: int | None = None,
) -> Candidates:
    """Return each target's `k` nearest of `sources`, or as many as lie within its limit.

    `sources`: (positions, counts) as Matcher.match() takes them, any number at a time; they are
    matched `block` at a time, by default as many as is fastest. `targets` is the number of targets.
    Sorted by (target, distance, source).
    """
    collector = Collector(targets, k)
    waiting = blocks(sources, block or matcher.block)
    threads = matcher.at_once
    for found in in_order(lambda some: matcher.match(*some), waiting, threads, threads - 1):
        collector.add(found)
        matcher.tighten(collector.limits)
    return collector.result()


def blocks(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Join and cut (positions, counts) into blocks of `size`, the last as many as remain."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    held = 0
    for positions, counts in parts:
        while len(positions):
            taken = size - held
            waiting.append((positions[:taken], counts[:taken]))
            held += len(waiting[-1][0])
            positions, counts = positions[taken:], counts[taken:]
            if held == size:
                yield _join(waiting)
                waiting, held = [], 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    positions, counts = zip(*parts)
    return np.concatenate(positions), np.concatenate(counts)
