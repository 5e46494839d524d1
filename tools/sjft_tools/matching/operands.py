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
    times w, for targets; all of them rounded to as many bits as was asked for. `own`: float64,
    w * share * L.
    """

    start: int
    stop: int
    share: np.ndarray
    log: np.ndarray
    weighted_share: np.ndarray
    weighted_log: np.ndarray
    own: np.ndarray


def slabs(distance: Distance, bits: int = 24) -> list[Slab]:
    """Return the dimensions of `distance` in pieces of whole channels, of about one size.

    A piece has at most SLAB dimensions, or one channel. Its tables keep `bits` significant bits.
    """
    return [slab for layer in distance.layers for slab in _of_layer(layer, distance.bins, bits)]


def _of_layer(layer: LayerTables, bins: int, bits: int) -> Iterator[Slab]:
    channels = (layer.stop - layer.start) // bins
    number = -(-channels // max(1, SLAB // bins))
    ends = [layer.start + bins * (channels * i // number) for i in range(number + 1)]
    for start, stop in zip(ends, ends[1:]):
        yield slab_of(layer, start, stop, bits)


def slab_of(layer: LayerTables, start: int, stop: int, bits: int = 24) -> Slab:
    """Return the slab of a layer's dimensions start..stop-1, its tables of `bits` bits."""
    log = np.maximum(-layer.log, 0)
    tables = (layer.share, log, layer.factor * layer.share, layer.factor * log)
    own = layer.factor * layer.share * log
    share, log32, weighted_share, weighted_log = (_rounded(table, bits) for table in tables)
    return Slab(start, stop, share, log32, weighted_share, weighted_log, own)


def _rounded(table: np.ndarray, bits: int) -> np.ndarray:
    """Return float64 numbers as float32 ones of at most `bits` significant bits, <= 24."""
    fraction, exponent = np.frexp(table)
    rounded = np.rint(np.ldexp(fraction, bits))
    return np.ldexp(rounded, exponent - bits).astype(np.float32)


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
