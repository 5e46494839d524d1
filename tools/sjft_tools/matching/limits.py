"""How far each target's K nearest sources can be, from a random sample of the sources.

A target's limit is at least its K-th smallest distance, except with a probability of 1e-9. Limits
save work and decide nothing: a target that finds fewer than K sources within its limit must be
matched again without one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sjft.randomness import scale_to_integers, uniform
from sjft_tools.distance import Distance
from sjft_tools.matching.products import Product
from sjft_tools.threads import in_parts

_FAILURE = 1e-9

# Below that many sources a sample costs more than it saves.
_FEWEST_SOURCES = 2048
_SMALLEST_SAMPLE, _LARGEST_SAMPLE = 256, 1 << 17

# Neighbours of a target that a sample should hold. More of them make the limit tighter: with 64 it
# lets 1.9 K sources through, with 256 1.4 K. Yet every image of the sample is described twice,
# which takes many times as long as matching it.
_WANTED = 64

_BLOCK = 1024

# Targets that a thread takes at a time.
_PART = 256


def sample_positions(n: int, k: int, seed: int) -> np.ndarray:
    """Return which of `n` sources make up the sample for `k` neighbours: ascending int64.

    Some 64 / k of all, but at most 1 in 64 and at most 131,072; at least 256. Empty where limits
    would save little: few sources, or k close to n.
    """
    size = max(_SMALLEST_SAMPLE, min(_WANTED * n // k, n // 64, _LARGEST_SAMPLE))
    if n < _FEWEST_SOURCES or 2 * rank(size, n, k) > size:
        return np.empty(0, np.int64)
    drawn = np.empty(0, np.int64)
    first = np.empty(0, np.intp)
    while len(first) < size:
        more = scale_to_integers(uniform(seed, "sample", len(drawn), size=size), n)
        drawn = np.concatenate([drawn, more])
        first = np.unique(drawn, return_index=True)[1]
    return np.sort(drawn[np.sort(first)[:size]])


def rank(size: int, n: int, k: int) -> int:
    """Return r: the r-th smallest distance in a sample of `size` of `n` is the limit.

    It lies below the k-th smallest of all only if r of the k nearest are in the sample. Their
    number is hypergeometric with mean m = k * size / n, and by Chernoff's bound P(>= r) <=
    exp(-m) * (e * m / r)**r for r > m (Hoeffding 1963: sampling without replacement is no wider
    than with it). r is the smallest for which that is below 1e-9.
    """
    mean = k * size / n
    r = math.ceil(mean) + 1
    while r * (1 + math.log(mean / r)) - mean > math.log(_FAILURE):
        r += 1
    return r


def limits(
    distance: Distance,
    targets: np.ndarray,
    sample: Iterable[np.ndarray],
    size: int,
    n: int,
    k: int,
    product: Product,
) -> np.ndarray:
    """Return each target's limit: float64 (T,), infinite where the sample is too small for one.

    `targets`: counts, T x dimensions; `sample`: those of sources drawn at random from `n`, at most
    `size` of them, in blocks of any length. No block is kept.
    """
    pairs = product.load(distance, targets)
    smallest = np.full((rank(size, n, k), len(targets)), np.inf, np.float32)
    seen = 0
    for counts in sample:
        for start in range(0, len(counts), _BLOCK):
            _keep_smallest(smallest, pairs.upper_bounds(counts[start : start + _BLOCK]))
        seen += len(counts)
    r = rank(seen, n, k) if seen else 1
    if r > seen:
        return np.full(len(targets), np.inf)
    return np.sort(smallest, axis=0)[r - 1].astype(np.float64)


def _keep_smallest(smallest: np.ndarray, found: np.ndarray) -> None:
    """Put into each column of `smallest`, r x T, the r smallest of both, the greatest last."""
    r = len(smallest)

    def work(start: int, stop: int) -> None:
        both = np.concatenate([smallest[:, start:stop], found[:, start:stop]])
        smallest[:, start:stop] = np.partition(both, r - 1, axis=0)[:r]

    in_parts(work, smallest.shape[1], _PART)
