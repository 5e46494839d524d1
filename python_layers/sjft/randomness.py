"""Counter-based random numbers: every draw is a pure function of (seed, stream, counter).

Nothing is carried from one draw to the next, so any sample can be drawn alone, in any process and
in any order. Only the raw 64-bit output of Philox-4x64 (Salmon et al. 2011) is used: NumPy
guarantees it across versions, which it does not for the methods of its Generator (NEP 19).
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.random import Philox


def random_bits(seed: int, stream: str, *counter: int, size: int) -> np.ndarray:
    """Return `size` uint64 random words.

    `stream` names the purpose of the draw, so that two purposes never share numbers; `counter` is
    up to three non-negative integers that tell the draw, for example (iteration, rank).
    """
    words = np.zeros(4, np.uint64)
    words[1 : 1 + len(counter)] = counter
    key = np.array([seed, zlib.crc32(stream.encode())], np.uint64)
    return Philox(key=key, counter=words).random_raw(size)


def uniform(seed: int, stream: str, *counter: int, size: int) -> np.ndarray:
    """Return `size` float64 in [0, 1), multiples of 2**-53."""
    bits = random_bits(seed, stream, *counter, size=size)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def scale_to_integers(u: np.ndarray, high: int | np.ndarray) -> np.ndarray:
    """Map `u` in [0, 1) to int64 in 0..high-1; `high` is an integer or an array shaped like `u`."""
    # u * high can round up to high itself once high passes 2**52; clamp rather than think of it.
    return np.minimum((u * high).astype(np.int64), np.asarray(high, np.int64) - 1)


def permutation(n: int, seed: int, stream: str, *counter: int) -> np.ndarray:
    """Return a random permutation of 0..n-1, int64."""
    return np.argsort(random_bits(seed, stream, *counter, size=n), kind="stable")
