"""From counts to the operands of the first pass, float32 matrices of which no element is negative.

With L = -log(share + eps), cut to >= 0, the distance is

    d(p, q) = <w p, L(q)> + <w L(p), q> - own(p) - own(q),   own(p) = <w p, L(p)>,

w being w_h / 2. The first two terms are a matrix product of [w p, w L(p)] and [L(q), q]. As no term
of the distance, w (p - q) (L(q) - L(p)) of a dimension, is negative, the same over some of the
dimensions is a lower bound of d.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sjft_tools.distance import Distance, LayerTables
from sjft_tools.matching.exact import compiled_kernels
from sjft_tools.threads import in_parts

#: Dimensions per matrix product at most: enough for BLAS to run at its full rate, few enough that
#: operands made on the spot stay in the cache, that the bound on rounding stays small, and that
#: pairs too far apart are soon dropped.
SLAB = 4096

#: Numbers of an operand side by side in memory, at most: so many of all targets stay in the cache.
CHUNK = 1024

# Rows that a thread takes at a time.
_PART = 64


class Slab(NamedTuple):
    """Some channels of one layer, the dimensions that are theirs, and what their counts become.

    `share`, `log`: float32 (pixels + 1,), for sources; `weighted_share`, `weighted_log`: the same
    times w, for targets; `own`: float64, w * share * L.
    """

    start: int
    stop: int
    share: np.ndarray
    log: np.ndarray
    weighted_share: np.ndarray
    weighted_log: np.ndarray
    own: np.ndarray


def slabs(distance: Distance) -> list[Slab]:
    """Return the dimensions of `distance` in pieces of whole channels, of about one size.

    A piece has at most SLAB dimensions, or one channel.
    """
    return [slab for layer in distance.layers for slab in _of_layer(layer, distance.bins)]


def _of_layer(layer: LayerTables, bins: int) -> Iterator[Slab]:
    channels = (layer.stop - layer.start) // bins
    number = -(-channels // max(1, SLAB // bins))
    ends = [layer.start + bins * (channels * i // number) for i in range(number + 1)]
    for start, stop in zip(ends, ends[1:]):
        yield slab_of(layer, start, stop)


def slab_of(layer: LayerTables, start: int, stop: int) -> Slab:
    """Return the slab of a layer's dimensions start..stop-1."""
    log = np.maximum(-layer.log, 0)
    tables = (layer.share, log, layer.factor * layer.share, layer.factor * log)
    own = layer.factor * layer.share * log
    share, log32, weighted_share, weighted_log = (table.astype(np.float32) for table in tables)
    return Slab(start, stop, share, log32, weighted_share, weighted_log, own)


def chunks(slab: Slab) -> list[Slab]:
    """Return a slab in chunks of one size, at most CHUNK / 2; the last may be smaller."""
    width = slab.stop - slab.start
    size = -(-width // -(-2 * width // CHUNK))
    starts = range(slab.start, slab.stop, size)
    return [slab._replace(start=i, stop=min(i + size, slab.stop)) for i in starts]


def target_operand(counts: np.ndarray, slab: Slab) -> np.ndarray:
    """Return [w p, w L(p)] of the slab's chunks: float32, chunks x N x 2 n.

    n is the chunks' size; behind the last one, if it is smaller, stand zeros.
    """
    pieces = chunks(slab)
    size = pieces[0].stop - pieces[0].start
    operand = np.zeros((len(pieces), len(counts), 2 * size), np.float32)
    for piece, out in zip(pieces, operand):
        here = out[:, : 2 * (piece.stop - piece.start)]
        some = counts[:, piece.start : piece.stop]
        here[:] = _look_up(some, piece.weighted_share, piece.weighted_log)
    return operand


def source_operand(counts: np.ndarray, slab: Slab) -> np.ndarray:
    """Return [L(q), q] of a slab's counts, N x n, or some of them: N x 2 n float32."""
    return _look_up(counts, slab.log, slab.share)


def _look_up(counts: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    width = counts.shape[1]
    operand = np.empty((len(counts), 2 * width), np.float32)
    kernels = compiled_kernels()

    def work(start: int, stop: int) -> None:
        some, out = counts[start:stop], operand[start:stop]
        if kernels is not None:
            kernels.look_up(some, left, right, out)
        else:
            out[:, :width] = left.take(some)
            out[:, width:] = right.take(some)

    in_parts(work, len(counts), _PART)
    return operand


def own_up_to(counts: np.ndarray, pieces: list[Slab]) -> np.ndarray:
    """Return own() over the first 1, 2, ... slabs: float64, slabs x N, the last row over all."""
    own = np.zeros((len(pieces), len(counts)))
    kernels = compiled_kernels()

    def work(start: int, stop: int) -> None:
        for slab, out in zip(pieces, own[:, start:stop]):
            here = counts[start:stop, slab.start : slab.stop]
            if kernels is not None:
                kernels.add_own(here, slab.own, out)
            else:
                out += slab.own.take(here).sum(axis=1)

    in_parts(work, len(counts), _PART)
    return np.cumsum(own, axis=0)


def relative_error(distance: Distance) -> float:
    """Return g: the float32 product of two descriptors lies within a factor 1 +- g of the true one.

    An operand's element is its float64 value rounded once, off by a factor 1 + e, |e| <= u =
    2**-24; so is a product of two, if it is rounded at all. A sum of n products, in whatever order
    and with or without fused additions, takes each of them through at most n - 1 roundings, and the
    sum over m chunks through m more. As no product is negative, the whole
    is off by a factor between (1 - u)**(n + m + 2) and (1 + u)**(n + m + 2), which lie within
    1 +- g for g = t / (1 - t), t = (n + m + 4) * u (Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., lemma 3.1). Of the two more, one stands for the roundings of the float64
    tables, below 2**-50 each, the other for the addition of two such sums: it holds as well for
    the product over the first slabs and that of merged bins over the others. No float32
    underflows: an element is 0 or at least w / pixels.
    """
    pieces = slabs(distance)
    terms = max(2 * (slab.stop - slab.start) for slab in pieces)
    t = (terms + sum(len(chunks(slab)) for slab in pieces) + 4) * 2.0**-24
    return t / (1 - t)


def absolute_error(distance: Distance) -> float:
    """Return a bound on what else differs between the product less own() and Distance.exact().

    All of it is float64's, v = 2**-53. M being the greatest own() that there is, a descriptor's
    own() sums n terms of which none is negative, each through at most n + 4 roundings: off by at
    most 2 (n + 4) v M. d is at most 2 M, and exact() rounds each term 3 times and to a quantum, and
    the whole 4 times. Of the tables, a share is off by a factor 1 +- v and a logarithm, at most
    36.1, by one unit in its last place and 2 v, at most 66 v in all: each of the four terms of the
    distance, of bins as they are and of merged ones, by less than 3 M v, as the sum of w p is
    M / 36. The cut of L, which is -2.3e-16 at least, -2.3e-16 times the number of bins where they
    are merged, changes each of the four by less than that times M / 36: by less than M v / 16 times
    that number.
    """
    own, exact, tables, cut = 2 * 2 * (distance.dimensions + 4), 2 * 7, 2 * 4 * 3, distance.bins
    quanta = sum(layer.factor * (layer.stop - layer.start) for layer in distance.layers)
    roundings = own + exact + tables + cut
    return roundings * 2.0**-53 * distance.magnitude + quanta * 2.0**-49
