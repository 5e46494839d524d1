"""The distance between descriptors (method, section 3): its definition.

A descriptor is kept as counts: N x (D * B) unsigned integers, channel after channel, each channel's
B counts summing to its pixels. A histogram's value is then one of few, count / pixels, and so is
its logarithm: both come from tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sjft_tools.banks.bank import Layer

#: The guard inside the logarithms.
EPS = 2.2204e-16

#: What exact() rounds terms to. A channel's terms sum to at most 2 |log eps| = 72.1, so that 64
#: bits hold the sum of a layer of up to 454 channels.
QUANTUM = 2.0**-48
_MOST_CHANNELS = 454


@dataclass(frozen=True)
class LayerTables:
    """What the counts of dimensions start..stop-1, those of one layer, stand for.

    `share`, `log`: float64 (pixels + 1,), count / pixels and its guarded logarithm; `factor`: w_h /
    2 of the layer's channels.
    """

    start: int
    stop: int
    share: np.ndarray
    log: np.ndarray
    factor: float


class Distance:
    """The distance over descriptors of `layers` with `bins` bins a channel.

    d(p, q) = sum over channels h of w_h / 2 * sum over bins of
    (p - q) * (log(p + eps) - log(q + eps)), p and q being counts / pixels in float64.
    """

    def __init__(self, layers: Sequence[Layer], bins: int) -> None:
        self.bins = bins
        self.dimensions = bins * sum(layer.channels for layer in layers)
        self.layers: list[LayerTables] = []
        # No descriptor's sum of factor * p * |log(p + eps)| over all dimensions is greater.
        self.magnitude = -math.log(EPS) * sum(layer.channels * layer.weight / 2 for layer in layers)
        start = 0
        for layer in layers:
            if layer.channels > _MOST_CHANNELS:
                raise ValueError(
                    f"{layer.channels} channels in a layer, expected <= {_MOST_CHANNELS}"
                )
            share = np.arange(layer.pixels + 1) / layer.pixels
            stop = start + layer.channels * bins
            tables = LayerTables(start, stop, share, _guarded_log(share), layer.weight / 2)
            self.layers.append(tables)
            start = stop

    def exact(self, targets: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Return the distances of targets from one source as sjft defines them: float64 (T,).

        `targets`: counts, T x dimensions; `source`: counts, (dimensions,). Each term is reckoned in
        float64 and rounded to a multiple of 2**-48; a layer's terms are added as integers. So the
        result depends on no order of summation, no block and no library; sources at the same
        distance tie.
        """
        distances = np.zeros(len(targets))
        for layer in self.layers:
            p, log_p = _look_up(targets, layer)
            q, log_q = _look_up(source[None], layer)
            p -= q
            log_p -= log_q
            p *= log_p
            p *= 1 / QUANTUM
            units = np.rint(p, out=p).astype(np.int64).sum(axis=1)
            distances += layer.factor * (units * QUANTUM)
        return distances


def _guarded_log(share: np.ndarray) -> np.ndarray:
    """Return log(share + EPS), float64.

    By way of the longer float: in float64 the C library and numpy round a few logarithms
    differently from one processor to the next, and machines that share a search would disagree.
    """
    return np.log((share + EPS).astype(np.longdouble)).astype(np.float64)


def _look_up(counts: np.ndarray, layer: LayerTables) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's histogram values and their logarithms, N x (stop - start) float64 each."""
    here = counts[:, layer.start : layer.stop].astype(np.intp)
    return layer.share.take(here), layer.log.take(here)
