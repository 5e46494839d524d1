"""From counts to the operands of the first pass, float32 matrices of which no element is negative.

With L = -log(share + eps), cut to >= 0, the distance is

    d(p, q) = <w p, L(q)> + <w L(p), q> - own(p) - own(q),   own(p) = <w p, L(p)>,

w being w_h / 2. The first two terms are a matrix product of [w p, w L(p)] and [L(q), q].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sjft_tools.distance import Distance, LayerTables

#: Dimensions per matrix product: enough for BLAS to run at its full rate, few enough that operands
#: made on the spot stay in the cache and that the bound on rounding stays small.
SLAB = 4096


class Slab(NamedTuple):
    """Some dimensions of one layer, and what their counts become.

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
    """Return the dimensions of `distance` in pieces of at most SLAB."""
    return [slab for layer in distance.layers for slab in _of_layer(layer)]


def _of_layer(layer: LayerTables) -> Iterator[Slab]:
    log = np.maximum(-layer.log, 0)
    tables = (layer.share, log, layer.factor * layer.share, layer.factor * log)
    share, log32, weighted_share, weighted_log = (table.astype(np.float32) for table in tables)
    own = layer.factor * layer.share * log
    for start in range(layer.start, layer.stop, SLAB):
        stop = min(start + SLAB, layer.stop)
        yield Slab(start, stop, share, log32, weighted_share, weighted_log, own)


def target_operand(counts: np.ndarray, slab: Slab) -> np.ndarray:
    """Return [w p, w L(p)]: N x 2 (stop - start) float32."""
    return _look_up(counts, slab, slab.weighted_share, slab.weighted_log)


def source_operand(counts: np.ndarray, slab: Slab) -> np.ndarray:
    """Return [L(q), q]: N x 2 (stop - start) float32."""
    return _look_up(counts, slab, slab.log, slab.share)


def own(counts: np.ndarray, slab: Slab) -> np.ndarray:
    """Return the slab's part of own(): float64 (N,)."""
    return slab.own.take(counts[:, slab.start : slab.stop]).sum(axis=1)


def _look_up(counts: np.ndarray, slab: Slab, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    here = counts[:, slab.start : slab.stop]
    width = slab.stop - slab.start
    operand = np.empty((len(counts), 2 * width), np.float32)
    # mode: any but "raise" spares numpy a copy; no count is out of range.
    left.take(here, out=operand[:, :width], mode="clip")
    right.take(here, out=operand[:, width:], mode="clip")
    return operand


def relative_error(distance: Distance) -> float:
    """Return g: the float32 product of two descriptors lies within a factor 1 +- g of the true one.

    An operand's element is its float64 value rounded once, off by a factor 1 + e, |e| <= u =
    2**-24; so is a product of two, if it is rounded at all. A sum of n products, in whatever order
    and with or without fused additions, takes each of them through at most n - 1 roundings, and the
    sum over m slabs through m more. As no product is negative, the whole is off by a factor between
    (1 - u)**(n + m + 2) and (1 + u)**(n + m + 2), which lie within 1 +- g for g = t / (1 - t), t =
    (n + m + 3) * u (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.1);
    the one more stands for the roundings of the float64 tables, below 2**-50 each.
    """
    pieces = slabs(distance)
    terms = max(2 * (slab.stop - slab.start) for slab in pieces) + len(pieces) + 3
    t = terms * 2.0**-24
    return t / (1 - t)


def absolute_error(distance: Distance) -> float:
    """Return a bound on what else differs between the product less own() and Distance.exact().

    All of it is float64's. M being the greatest own() that there is, a descriptor's own() sums n
    terms with at most n + 2 roundings each: off by at most 2 (n + 2) v M, v = 2**-53. The
    true d, at most 4 M, and exact() differ by 4 roundings a term and half a quantum for each. The
    cut of L, which is -2.2e-16 at least, changes each product by less than 2**-51 of M.
    """
    terms = distance.dimensions
    roundings = 4 * (terms + 2) + 16 + 16
    quanta = sum(layer.factor * (layer.stop - layer.start) for layer in distance.layers)
    return roundings * 2.0**-53 * distance.magnitude + quanta * 2.0**-49
