"""Matching a stream of source descriptors against all target descriptors."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from typing import Callable

import numpy as np
from tqdm import tqdm

from sjft_tools.distance import Distance
from sjft_tools.top_k import TopK

#: Pairs are reckoned in blocks of this many: enough for BLAS to run at its full rate. The result
#: does not depend on it.
SOURCE_BLOCK = 1024
TARGET_BLOCK = 1024

#: Indices of sources, ascending, at most `batch` -> their descriptors, N x dimensions counts.
DescribeSources = Callable[[list[int]], np.ndarray]


class ExactMatcher:
    """Exact distances of single pairs, for the few that the fast ones leave in doubt.

    The sources' descriptors went by and were not kept, so `describe` makes them again. Duplicates
    of one image are the commonest doubt: each distinct descriptor is compared with a target once.
    """

    def __init__(
        self, distance: Distance, targets: np.ndarray, describe: DescribeSources, batch: int
    ) -> None:
        self._distance = distance
        self._targets = targets
        self._describe = describe
        self._batch = batch
        self._known: dict[bytes, dict[int, float]] = {}

    def __call__(self, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Return the exact distance of each pair (targets[i], sources[i]), float64."""
        result = np.empty(len(targets))
        order = np.argsort(sources, kind="stable")
        distinct, starts = np.unique(sources[order], return_index=True)
        pairs = np.split(order, starts[1:])
        # Shown only if it takes long, for it interrupts the bar of the pass over the sources.
        batches = range(0, len(distinct), self._batch)
        for at in tqdm(batches, "exact distances", delay=2, leave=False, file=sys.stderr):
            descriptors = self._describe(distinct[at : at + self._batch].tolist())
            for descriptor, places in zip(descriptors, pairs[at : at + self._batch]):
                result[places] = self._from_one_source(targets[places].tolist(), descriptor)
        return result

    def _from_one_source(self, targets: list[int], descriptor: np.ndarray) -> list[float]:
        known = self._known.setdefault(hashlib.sha256(descriptor.tobytes()).digest(), {})
        new = [target for target in targets if target not in known]
        for start in range(0, len(new), self._batch):
            some = new[start : start + self._batch]
            known.update(zip(some, self._distance.exact(self._targets[some], descriptor).tolist()))
        return [known[target] for target in targets]


def nearest(
    distance: Distance,
    targets: np.ndarray,
    sources: Iterable[np.ndarray],
    k: int,
    exact: ExactMatcher,
    source_block: int = SOURCE_BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each target's k nearest sources: indices T x k int64, and distances T x k float32.

    `targets`: T x dimensions counts; `sources`: arrays of N x dimensions counts in the order of
    their indices from 0, at least k in all. Ordered by (exact distance, index), nearest first.
    `source_block` sources are matched at a time; the result does not depend on it.
    """
    top = TopK(len(targets), k, distance.bound, exact)
    first_source = 0
    for block in _blocks(sources, source_block):
        for start in range(0, len(targets), TARGET_BLOCK):
            some = targets[start : start + TARGET_BLOCK]
            top.offer(start, first_source, distance.pairs(some, block))
        first_source += len(block)
    return top.result()


def _blocks(parts: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join small arrays of rows into arrays of `size` rows, the last as many as remain."""
    waiting: list[np.ndarray] = []
    count = 0
    for part in parts:
        while len(part):
            taken, part = part[: size - count], part[size - count :]
            waiting.append(taken)
            count += len(taken)
            if count == size:
                yield np.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)
