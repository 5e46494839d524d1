"""The distance between descriptors (method, section 3): its definition, and all pairs of two sets.

A descriptor is kept as counts: N x (D * B) unsigned integers, channel after channel, each channel's
B counts summing to its pixels. A histogram's value is then one of few, count / pixels, and so is
its logarithm: both come from tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sjft_tools.banks.bank import Layer

#: The guard inside the logarithms.
EPS = 2.2204e-16

# Dimensions per matrix product: enough for BLAS to run at its full rate, few enough that the
# operands, which are made from counts on the spot, stay small beside the counts.
_SLAB = 2048

_UNIT_ROUNDOFF = 2.0**-53

# What exact() rounds terms to. A channel's terms sum to at most 2 |log eps| = 72.1, so that 64 bits
# hold the sum of a layer of up to 454 channels.
_QUANTUM = 2.0**-48
_MOST_CHANNELS = 454


@dataclass(frozen=True)
class _Slab:
    """Dimensions start..stop-1, all of one layer, with its tables and its factor w_h / 2."""

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
        self.dimensions = bins * sum(layer.channels for layer in layers)
        self._layers: list[_Slab] = []
        start = 0
        for layer in layers:
            if layer.channels > _MOST_CHANNELS:
                raise ValueError(
                    f"{layer.channels} channels in a layer, expected <= {_MOST_CHANNELS}"
                )
            share = np.arange(layer.pixels + 1) / layer.pixels
            stop = start + layer.channels * bins
            self._layers.append(_Slab(start, stop, share, np.log(share + EPS), layer.weight / 2))
            start = stop
        self.bound = self._error_bound(bins)

    def exact(self, targets: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Return the distances of targets from one source as sjft defines them: float64 (T,).

        `targets`: counts, T x dimensions; `source`: counts, (dimensions,). Each term is reckoned in
        float64 and rounded to a multiple of 2**-48; a layer's terms are added as integers. So the
        result depends on no order of summation, no block and no library; sources at the same
        distance tie.
        """
        distances = np.zeros(len(targets))
        for layer in self._layers:
            p, log_p = _look_up(targets, layer)
            q, log_q = _look_up(source[None], layer)
            p -= q
            log_p -= log_q
            p *= log_p
            p *= 1 / _QUANTUM
            units = np.rint(p, out=p).astype(np.int64).sum(axis=1)
            distances += layer.factor * (units * _QUANTUM)
        return distances

    def pairs(self, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Return the distances of all pairs, T x S float64, within `bound` of exact().

        `targets`, `sources`: counts, T x dimensions and S x dimensions. By the method's algebra a
        layer is <p, log p> + <q, log q> - <p, log q> - <log p, q>, the last two matrix products.
        """
        result = np.zeros((len(targets), len(sources)))
        for slab in self._slabs():
            p, log_p = _look_up(targets, slab)
            q, log_q = _look_up(sources, slab)
            own_p = np.einsum("ij,ij->i", p, log_p)
            own_q = np.einsum("ij,ij->i", q, log_q)
            product = p @ log_q.T
            product += log_p @ q.T
            product -= own_p[:, None]
            product -= own_q
            product *= slab.factor
            result -= product
        return result

    def _slabs(self) -> Iterator[_Slab]:
        for layer in self._layers:
            for start in range(layer.start, layer.stop, _SLAB):
                stop = min(start + _SLAB, layer.stop)
                yield _Slab(start, stop, layer.share, layer.log, layer.factor)

    def _error_bound(self, bins: int) -> float:
        """Return a bound on |pairs - exact|, for any descriptors and any order of summation.

        A float64 sum of n products is off by at most n * u / (1 - n * u) of the sum of their
        magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
        As p and q sum to 1 in a channel and no logarithm exceeds |log eps|, the four kinds of
        products of a channel have magnitudes that sum to at most 4 |log eps|. Each product passes
        through one slab's sum, of _SLAB terms, and then at most four additions for every slab. The
        factor of 2 covers the multiplications, some 10 u of each product. exact() is off by half a
        quantum for each term.
        """
        magnitude = sum(
            4 * -math.log(EPS) * layer.factor * (layer.stop - layer.start) / bins
            for layer in self._layers
        )
        additions = _SLAB + 4 * len(list(self._slabs()))
        quanta = sum(layer.factor * (layer.stop - layer.start) / 2 for layer in self._layers)
        return 2 * additions * _UNIT_ROUNDOFF * magnitude + quanta * _QUANTUM


def _look_up(counts: np.ndarray, slab: _Slab) -> tuple[np.ndarray, np.ndarray]:
    """Return a slab's histogram values and their logarithms, N x (stop - start) float64 each."""
    here = counts[:, slab.start : slab.stop].astype(np.intp)
    return slab.share.take(here), slab.log.take(here)
