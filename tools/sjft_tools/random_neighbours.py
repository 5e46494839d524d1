"""Neighbours drawn at random: the paper's comparisons with sources that nobody selected."""

from __future__ import annotations

import numpy as np

from sjft.errors import InputError
from sjft.randomness import permutation

_STREAM = "random neighbours"


def draw_pool(candidates: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return `size` of the `candidates` (int64), drawn at random without replacement, ascending.

    Raises InputError if there are fewer.
    """
    if size > len(candidates):
        raise InputError(
            f"{size} source images are more than there are to draw from: {len(candidates)}"
        )
    return np.sort(candidates[permutation(len(candidates), seed, f"{_STREAM}: pool")[:size]])


def deal(targets: int, k: int, pool: np.ndarray, seed: int) -> np.ndarray:
    """Deal `k` images of `pool` (int64, distinct) to each of `targets` images, as cards are dealt.

    The pool is shuffled anew whenever it has run out, so that every image is dealt equally often,
    to within one, and all are dealt if targets * k is at least their number. No hand holds an image
    twice. Returns int64 (targets, k). Raises InputError if the pool has fewer than `k` images.
    """
    if k > len(pool):
        raise InputError(f"k = {k} neighbours cannot be drawn from {len(pool)} source images")
    hands = np.empty((targets, k), np.int64)
    rest, shuffles = pool[:0], 0
    for hand in hands:
        if len(rest) < k:
            fresh = pool[permutation(len(pool), seed, _STREAM, shuffles)]
            shuffles += 1
            # what the hand has from the old rest waits for the next hand
            repeated = np.isin(fresh, rest)
            rest = np.concatenate([rest, fresh[~repeated], fresh[repeated]])
        hand[:], rest = rest[:k], rest[k:]
    return hands
