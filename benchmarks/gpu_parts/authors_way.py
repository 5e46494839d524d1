"""The authors' way of matching, written anew from its description: one thread per pair.

Method, section 3: a thread goes through all bins of a target and a source and takes the logarithm
of each ratio, in float32. The two divergences of a bin have the same logarithm but for its sign; it
is taken once here, which is the faster reading.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from sjft_tools.distance import EPS
from sjft_tools.numba_cuda import cuda

_EPS = np.float32(EPS)
#: Threads of a block: sources x targets, those of a warp with 32 sources and one target.
_BLOCK = (32, 4)


@cuda.jit
def _distances(targets, sources, weights, out):  # type: ignore[no-untyped-def]
    """Write the distance of each target and source, shares in float32: T x S."""
    source, target = cuda.grid(2)
    if target < out.shape[0] and source < out.shape[1]:
        total = float32(0)
        for i in range(weights.shape[0]):
            p, q = targets[target, i], sources[source, i]
            total += weights[i] * (p - q) * math.log((p + _EPS) / (q + _EPS))
        out[target, source] = total


def distances(targets: Any, sources: Any, weights: Any, out: Any) -> None:
    """Launch the kernel: float32 shares, T x dimensions and S x dimensions; `out` T x S."""
    grid = tuple(-(-size // threads) for size, threads in zip(out.shape[::-1], _BLOCK))
    _distances[grid, _BLOCK](targets, sources, weights, out)


def literal(targets: np.ndarray, sources: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the same in float64 by numpy, T x S."""
    p, q = targets[:, None].astype(np.float64), sources[None].astype(np.float64)
    return ((p - q) * (np.log(p + EPS) - np.log(q + EPS))) @ weights.astype(np.float64)
