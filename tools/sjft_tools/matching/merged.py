"""Bins merged into few: a lower bound of the distance for a seventh of the cost.

By the log sum inequality (Cover & Thomas, Elements of Information Theory, 2nd ed., theorem 2.7.1)

    sum_b (p_b - q_b) (log p_b - log q_b)  >=  (P - Q) (log P - log Q),

P and Q being the sums of p and q, which are positive. Those of the distance are share + eps, whose
differences are the shares'. As a bin of share 0 on both sides adds nothing to the left side, every
P and Q may hold as many eps as there are bins at all.
"""

from __future__ import annotations

import numpy as np

from sjft_tools.distance import EPS, Distance, LayerTables
from sjft_tools.matching.exact import compiled_kernels
from sjft_tools.matching.operands import Slab, slab_of
from sjft_tools.threads import in_parts

# Bins that become one, on average: more of them make the bound cheaper, fewer make it sharper. The
# cost of matching hardly differs between 6 and 10.
_MERGED = 7

# Rows that a thread takes at a time.
_PART = 64


def runs(bins: int) -> np.ndarray:
    """Return where each run of bins that are merged begins, and the number of bins: int64.

    Runs at both ends are short, down to one bin: all adaptive bins hold about as many of the
    target's responses, and images of another contrast differ from them in the outer ones most.
    """
    number = max(2, round(bins / _MERGED))
    place = np.linspace(-1, 1, number + 1)
    ends = bins * (1 + np.sign(place) * (1 - (1 - np.abs(place)) ** 2)) / 2
    return np.unique(np.rint(ends).astype(np.int64))


class MergedBins:
    """The merged bins of descriptors of `distance`, R for each channel."""

    def __init__(self, distance: Distance) -> None:
        self._bins = distance.bins
        self._layers = distance.layers
        self._ends = runs(distance.bins)
        self._runs = len(self._ends) - 1

    def slab(self, slab: Slab) -> Slab:
        """Return the slab of the merged bins of the channels of `slab`."""
        layer = next(layer for layer in self._layers if layer.start <= slab.start < layer.stop)
        log = np.log(layer.share + self._bins * EPS)
        start, stop = (end // self._bins * self._runs for end in (slab.start, slab.stop))
        return slab_of(LayerTables(start, stop, layer.share, log, layer.factor), start, stop)

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the counts of merged bins, N x (channels * R), of `counts`: the same dtype."""
        channels = counts.shape[1] // self._bins
        merged = np.empty((len(counts), channels, self._runs), counts.dtype)
        kernels = compiled_kernels()

        def work(start: int, stop: int) -> None:
            some = counts[start:stop].reshape(-1, channels, self._bins)
            if kernels is not None:
                kernels.merge(some, self._ends, merged[start:stop])
            else:
                starts = self._ends[:-1]
                np.add.reduceat(some, starts, axis=2, dtype=counts.dtype, out=merged[start:stop])

        in_parts(work, len(counts), _PART)
        return merged.reshape(len(counts), -1)
