"""Joining the nearest sources that several parts of the source gave."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sjft_tools.matching.candidates import Candidates, Collector


def merge(
    parts: Iterable[Candidates], targets: int, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the `k` nearest sources of each of `targets` targets over all `parts`.

    Returns the sources, targets x k int64, nearest first by (distance, source); their exact
    distances, targets x k float64; and how many each target has, (targets,) int64. Where a target
    has fewer than k, its last sources are -1 and their distances infinite. The order of the parts
    does not matter; no pair may be in two of them.
    """
    collector = Collector(targets, k)
    for part in parts:
        collector.add(part)
    found = collector.result()
    counts = np.bincount(found.targets, minlength=targets)
    starts = np.cumsum(counts) - counts
    places = np.arange(len(found.targets)) - np.repeat(starts, counts)
    sources = np.full((targets, k), -1, np.int64)
    distances = np.full((targets, k), np.inf)
    sources[found.targets, places] = found.sources
    distances[found.targets, places] = found.distances
    return sources, distances, counts
