"""The K nearest sources of each target, kept while sources stream by.

Distances come with a known error bound. Candidates whose order the bound leaves open are told apart
by their exact distances, which a function passed in computes; so the result is that of a sort by
(exact distance, source index), whatever the blocks in which the sources came.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

#: (targets, sources), int64 arrays of one length -> the exact distance of each pair, float64.
ExactPairs = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: Candidates beyond K that a target may keep for being too close to the K-th to be told from it.
_MARGIN = 32
_NO_SOURCE = np.iinfo(np.int64).max


class TopK:
    """The nearest `k` sources of each of `targets` targets, of distances known to within `bound`.

    Memory: 16 bytes for each of targets x (k + 32) candidates.
    """

    def __init__(self, targets: int, k: int, bound: float, exact: ExactPairs) -> None:
        self._k = k
        self._gap = 2 * bound  # Distances further apart than this are in their true order.
        self._bound = bound
        self._exact = exact
        self._distances = np.full((targets, k + _MARGIN), np.inf)
        self._sources = np.full((targets, k + _MARGIN), _NO_SOURCE)

    def offer(self, first_target: int, first_source: int, distances: np.ndarray) -> None:
        """Take in a block of pairs.

        `distances`: T x S float64, of the targets from `first_target` on and the sources from
        `first_source` on. A pair must be offered once only; blocks may come in any order.
        """
        rows = slice(first_target, first_target + len(distances))
        # A source beyond a target's K candidates by more than the gap cannot enter.
        limit = self._distances[rows, : self._k].max(axis=1) + self._gap
        wanted = np.flatnonzero((distances <= limit[:, None]).any(axis=0))
        if not wanted.size:
            return
        values = np.hstack([self._distances[rows], distances[:, wanted]])
        sources = np.hstack(
            [
                self._sources[rows],
                np.broadcast_to(first_source + wanted, (len(values), len(wanted))),
            ]
        )
        room = self._distances.shape[1]
        # Element k-1 is then the k-th smallest, and element `room` the smallest that is dropped.
        order = np.argpartition(values, (self._k - 1, room), axis=1)
        values = np.take_along_axis(values, order, axis=1)
        sources = np.take_along_axis(sources, order, axis=1)
        dropped = values[:, room]
        doubtful = np.isfinite(dropped) & (dropped <= values[:, self._k - 1] + self._gap)
        self._distances[rows] = values[:, :room]
        self._sources[rows] = sources[:, :room]
        if doubtful.any():
            self._settle(first_target, np.flatnonzero(doubtful), values, sources)

    def _settle(
        self, first_target: int, rows: np.ndarray, values: np.ndarray, sources: np.ndarray
    ) -> None:
        """Cut the candidates of some targets, sorted out around the k-th, to their true k nearest.

        `values`, `sources`: T x n, of the targets from `first_target` on, of which `rows` are cut.
        """
        values, sources = values[rows], sources[rows]
        kth = values[:, self._k - 1, None]
        unsure = np.abs(values - kth) <= self._gap
        places = np.nonzero(unsure)
        values[places] = self._exact(first_target + rows[places[0]], sources[places])
        kept = np.lexsort((sources, values), axis=1)[:, : self._k]
        self._distances[first_target + rows, self._k :] = np.inf
        self._sources[first_target + rows, self._k :] = _NO_SOURCE
        self._distances[first_target + rows, : self._k] = np.take_along_axis(values, kept, axis=1)
        self._sources[first_target + rows, : self._k] = np.take_along_axis(sources, kept, axis=1)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sources' indices, targets x k int64, nearest first, and their distances.

        At least k sources must have been offered to every target. The distances, float32, are the
        exact ones rounded.
        """
        order = np.lexsort((self._sources, self._distances), axis=1)
        values = np.take_along_axis(self._distances, order, axis=1)
        sources = np.take_along_axis(self._sources, order, axis=1)
        unsure = self._unsure(values)
        targets, places = np.nonzero(unsure)
        values[targets, places] = self._exact(targets, sources[targets, places])
        order = np.lexsort((sources, values), axis=1)[:, : self._k]
        return (
            np.take_along_axis(sources, order, axis=1),
            np.take_along_axis(values, order, axis=1).astype(np.float32),
        )

    def _unsure(self, values: np.ndarray) -> np.ndarray:
        """Return which of the sorted `values` must be known exactly: bool, in their shape.

        Those that the bound does not tell from a neighbour in rank, among the first k or on a chain
        of such that begins there, and those of the first k whose float32 rounding it leaves open.
        """
        unsure = np.zeros(values.shape, bool)
        first = values[:, : self._k]
        low, high = first - self._bound, first + self._bound
        unsure[:, : self._k] = low.astype(np.float32) != high.astype(np.float32)
        with np.errstate(invalid="ignore"):
            close = np.diff(values, axis=1) <= self._gap
        # Past the k-th, a chain counts only as far as it is unbroken.
        close[:, self._k :] &= np.logical_and.accumulate(close[:, self._k - 1 :], axis=1)[:, :-1]
        unsure[:, :-1] |= close
        unsure[:, 1:] |= close
        return unsure
