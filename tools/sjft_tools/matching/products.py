"""The first pass over all pairs of targets and sources: a float32 matrix product.

A product finds the pairs that may lie within the targets' limits: all of those that do, and few
more. Which more depends on its rounding; exact distances decide afterwards.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sjft_tools.distance import Distance
from sjft_tools.matching import operands


class Pairs(Protocol):
    """The pairs of given targets with whatever sources come."""

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and the sources, int64 (n,) each, of pairs that may be within limits.

        `sources`: counts, S x dimensions; `limits`: float64 (T,). Every pair whose exact distance
        is <= its target's limit is among them. Ordered by source, then by target.
        """

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""


class Product(Protocol):
    """A library that multiplies matrices."""

    name: str

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""


class NumpyPairs:
    """Pairs by numpy's product."""

    def __init__(self, distance: Distance, targets: np.ndarray) -> None:
        self._relative = operands.relative_error(distance)
        self._absolute = operands.absolute_error(distance)
        self._slabs = operands.slabs(distance)
        self._targets = [operands.target_operand(targets, slab) for slab in self._slabs]
        self._own = sum(operands.own(targets, slab) for slab in self._slabs)

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and the sources of pairs that may be within limits."""
        product, own = self._product(sources)
        # The product must not exceed limit + own + own + absolute by more than the factor 1 + g.
        # float32 roundings of the two parts and of their sum: three more ulps.
        factor = (1 + self._relative) * (1 + 2.0**-21)
        column = ((own + self._absolute) * factor).astype(np.float32)
        row = ((limits + self._own) * factor).astype(np.float32)
        found_sources, found_targets = np.nonzero(product <= row + column[:, None])
        return found_targets, found_sources

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""
        product, own = self._product(sources)
        bounds = product / (1 - self._relative) - (own[:, None] + self._own) + self._absolute
        return np.nextafter(bounds.astype(np.float32), np.float32(np.inf))

    def _product(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        product: np.ndarray | float = 0.0
        own: np.ndarray | float = 0.0
        for slab, targets in zip(self._slabs, self._targets):
            product = product + operands.source_operand(sources, slab) @ targets.T
            own = own + operands.own(sources, slab)
        return np.asarray(product), np.asarray(own)


class NumpyProduct:
    """numpy's product, by the BLAS that it is linked with."""

    name = "numpy"

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""
        return NumpyPairs(distance, targets)


def make_product(name: str = "auto") -> Product:
    """Return the product called `name`; "auto" takes the fastest that this machine has."""
    return NumpyProduct()
