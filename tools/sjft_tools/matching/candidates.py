"""Pairs of target and source with their exact distance, and the nearest of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sjft_tools.threads import in_parts

_TARGETS_AT_ONCE = 16


class Candidates(NamedTuple):
    """Pairs of a target and a source that may be among the target's K nearest."""

    targets: np.ndarray
    """int32 (n,), positions among the targets."""
    sources: np.ndarray
    """int64 (n,), positions in the source's key order."""
    distances: np.ndarray
    """float64 (n,), exact."""


def join(parts: Iterable[Candidates]) -> Candidates:
    """Return all candidates of `parts`, one part after the other."""
    columns = [part for part in parts if len(part.targets)]
    if not columns:
        return Candidates(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))
    return Candidates(*(np.concatenate(column) for column in zip(*columns)))


def nearest(candidates: Candidates, k: int) -> Candidates:
    """Return each target's `k` nearest, or as many as it has, by (target, distance, source)."""
    targets, sources, distances = candidates
    order = np.argsort(_narrow(targets), kind="stable")
    ends = np.cumsum(np.bincount(targets))
    kept: list[np.ndarray] = [order[:0]] * len(ends)

    def cut(start: int, stop: int) -> None:
        for t in range(start, stop):
            own = order[ends[t - 1] if t else 0 : ends[t]]
            kept[t] = own[np.lexsort((sources[own], distances[own]))[:k]]

    in_parts(cut, len(ends), _TARGETS_AT_ONCE)
    order = np.concatenate([order[:0], *kept])
    return Candidates(targets[order], sources[order], distances[order])


def _narrow(targets: np.ndarray) -> np.ndarray:
    """Return `targets` as uint16 if they fit: numpy sorts these in a time that grows with n."""
    return targets.astype(np.uint16) if targets.max(initial=0) < 1 << 16 else targets


class Collector:
    """Keeps the `k` nearest of each of `targets` targets while candidates come in, in any order.

    Memory: between cuts at most 2 * targets * k candidates and what one call of add() brings, 20
    bytes each; while they are cut, some three times that.
    """

    def __init__(self, targets: int, k: int) -> None:
        self.limits = np.full(targets, np.inf)
        """Each target's k-th smallest distance at the last cut: what lies beyond is of no use."""
        self._k = k
        self._most = 2 * targets * k
        self._parts: list[Candidates] = []
        self._held = 0

    def add(self, candidates: Candidates) -> None:
        """Take in candidates; no pair may come twice."""
        self._parts.append(candidates)
        self._held += len(candidates.targets)
        if self._held > self._most:
            self._cut()

    def result(self) -> Candidates:
        """Return each target's nearest, sorted by (target, distance, source)."""
        self._cut()
        return self._parts[0]

    def _cut(self) -> None:
        kept = nearest(join(self._parts), self._k)
        self._parts = [kept]
        self._held = len(kept.targets)
        ends = np.searchsorted(kept.targets, np.arange(len(self.limits)), side="right")
        full = np.bincount(kept.targets, minlength=len(self.limits)) == self._k
        self.limits[full] = kept.distances[ends[full] - 1]
