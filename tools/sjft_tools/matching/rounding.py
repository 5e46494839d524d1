"""What the first pass may be off by: bounds on the rounding of its products."""

from __future__ import annotations

from typing import NamedTuple

from sjft_tools.distance import Distance
from sjft_tools.matching.operands import SLAB, chunks, slabs


class Arithmetic(NamedTuple):
    """How a matrix product is reckoned.

    `bits`: significant bits that elements of operands have; `addition`: a sum of n products of them
    is off by a factor between (1 - addition)**n and (1 + addition)**n; `terms`: how many products
    are summed at a time, at most.
    """

    name: str
    bits: int
    addition: float
    terms: int


#: IEEE 754's single precision.
FLOAT32 = Arithmetic("float32", 24, 2.0**-24, 2 * SLAB)

#: What tensor cores make of float32 where they may: NVIDIA's from compute capability 8.0 on.
#:
#: They keep 11 bits of an element, so that a product of two is exact. Some products, four or more,
#: and the sum before are then added at once, each cut to the last place of the greatest, of 24 bits
#: at least, and so is their sum (Fasi, Higham, Mikaitis, Pranesh, Numerical behavior of NVIDIA
#: tensor cores, PeerJ CS 7:e330, 2021; Khattak, Mikaitis, Accurate models of NVIDIA tensor cores,
#: arXiv:2512.07004: one bit more in the A100, two in the H100). No addend being negative, k of them
#: and the sum before lose a share of (k + 2) * 2**-23 at most, which from k = 2 on is no more than
#: k * 2**-22. Few terms keep the bound small.
TENSOR_FLOAT_32 = Arithmetic("TensorFloat-32", 11, 2.0**-22, 2048)


def relative_error(distance: Distance, arithmetic: Arithmetic = FLOAT32) -> float:
    """Return g: the product of two descriptors lies within a factor 1 +- g of the true one.

    An operand's element is its float64 value rounded once, off by a factor 1 + e, |e| <= 2**-bits.
    A sum of n products, in whatever order and with or without fused additions, takes each of them
    through at most n errors of `addition` (in float32 n - 1 of sums and the product's own), and the
    sum over m chunks through m more. As no product is negative, the whole is off by a product of
    such factors. It lies within 1 +- g for g = t / (1 - t), t = (n + m + 2) * addition +
    2 * 2**-bits being the sum of what each may add (Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., lemma 3.1). Of the two more, one stands for the roundings of the float64
    tables, below 2**-50 each, the other for the addition of two such sums: it holds as well for the
    product over the first slabs and that of merged bins over the others. No float32 underflows: an
    element is 0 or at least w / pixels.
    """
    pieces = slabs(distance)
    terms = min(arithmetic.terms, max(2 * (slab.stop - slab.start) for slab in pieces))
    sums = sum(len(chunks(slab)) for slab in pieces)
    t = (terms + sums + 2) * arithmetic.addition + 2 * 2.0**-arithmetic.bits
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
