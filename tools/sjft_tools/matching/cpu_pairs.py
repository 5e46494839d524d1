"""The first pass on the CPU, slab of dimensions by slab.

The targets are put in groups of similar ones. After each slab, a group drops the sources that are
too far from all of its targets already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple

import numpy as np

from sjft_tools.distance import Distance
from sjft_tools.matching import operands
from sjft_tools.matching.exact import ExactPairs, compiled_kernels
from sjft_tools.matching.grouping import groups

#: (total S x T, sources S x n, targets T x n), float32: adds sources @ targets.T to total.
AddProduct = Callable[[np.ndarray, np.ndarray, np.ndarray], None]

# Targets of a group: fewer leave fewer sources near any of them, more make products that BLAS does
# at a higher rate.
_GROUP = 256

# Sources are dropped when so many of them can be.
_WORTH_DROPPING = 1 / 16


class _Group(NamedTuple):
    """Targets that are matched together.

    `rows`: int64, which; `operands`: for each slab float32; `own`: float64, slabs x targets, own()
    over the slabs up to each.
    """

    rows: np.ndarray
    operands: list[np.ndarray]
    own: np.ndarray


class CpuPairs:
    """The pairs of `targets`, counts T x dimensions, with sources.

    Keeps the targets' operands in memory: 8 bytes for each of T x dimensions, and one more for the
    exact distances.
    """

    def __init__(self, distance: Distance, targets: np.ndarray, add_product: AddProduct) -> None:
        self._relative = operands.relative_error(distance)
        self._absolute = operands.absolute_error(distance)
        self._slabs = operands.slabs(distance)
        self._count = len(targets)
        self._add_product = add_product
        self._groups = list(self._grouped(targets))
        self.exact = ExactPairs(distance, targets)

    def _grouped(self, targets: np.ndarray) -> Iterator[_Group]:
        # The first slab tells well enough which targets resemble each other.
        features = operands.target_operand(targets, np.arange(len(targets)), self._slabs[0])
        own = operands.own_up_to(targets, self._slabs)
        for rows in groups(features, _GROUP):
            made = [operands.target_operand(targets, rows, slab) for slab in self._slabs]
            yield _Group(rows, made, own[:, rows])

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources, int64 (n,) each, of pairs that may be within limits."""
        # The product must not exceed limit + own + own + absolute by more than the factor 1 + g;
        # and there are three float32 roundings of the right-hand side.
        factor = (1 + self._relative) * (1 + 2.0**-21)
        own = operands.own_up_to(sources, self._slabs)
        by_source = ((own + self._absolute) * factor).astype(np.float32)
        searches = [
            _Search(
                group, ((limits[group.rows] + group.own) * factor).astype(np.float32), by_source
            )
            for group in self._groups
        ]
        wanted = np.arange(len(sources))
        for i, slab in enumerate(self._slabs):
            operand = operands.source_operand(sources, wanted, slab)
            for search in searches:
                search.add(i, operand, wanted, self._add_product)
            wanted = _union(search.places for search in searches)
        rows, columns = (np.concatenate(part) for part in zip(*(s.found() for s in searches)))
        order = np.argsort(columns, kind="stable")
        return rows[order], columns[order]

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""
        everything = np.arange(len(sources))
        totals = [np.zeros((len(sources), len(group.rows)), np.float32) for group in self._groups]
        for i, slab in enumerate(self._slabs):
            operand = operands.source_operand(sources, everything, slab)
            for group, total in zip(self._groups, totals):
                self._add_product(total, operand, group.operands[i])
        own = operands.own_up_to(sources, self._slabs)[-1, :, None]
        bounds = np.empty((len(sources), self._count), np.float32)
        for group, total in zip(self._groups, totals):
            found = total / (1 - self._relative) - own - group.own[-1] + self._absolute
            bounds[:, group.rows] = np.nextafter(found.astype(np.float32), np.float32(np.inf))
        return bounds


class _Search:
    """The sources that may still be near a group's targets, and their products so far.

    `by_target`, `by_source`: float32, slabs x targets and slabs x S; a pair may be within its limit
    while its product over the first slabs is at most the sum of the two. `places`: the sources,
    ascending.
    """

    def __init__(self, group: _Group, by_target: np.ndarray, by_source: np.ndarray) -> None:
        self._group = group
        self._by_target = by_target
        self._by_source = by_source
        self.places = np.arange(by_source.shape[1])
        self._total = np.zeros((len(self.places), len(group.rows)), np.float32)

    def add(self, i: int, operand: np.ndarray, rows: np.ndarray, add_product: AddProduct) -> None:
        """Go on by slab `i`. `operand`: that of the sources `rows`, ascending."""
        if len(self.places) < len(rows):
            operand = operand.take(np.searchsorted(rows, self.places), axis=0)
        add_product(self._total, operand, self._group.operands[i])
        near = _rows_within(self._total, self._by_source[i, self.places], self._by_target[i])
        if np.count_nonzero(near) <= (1 - _WORTH_DROPPING) * len(near):
            self._total, self.places = self._total[near], self.places[near]

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources of the pairs that all slabs left."""
        most = self._by_source[-1, self.places][:, None] + self._by_target[-1]
        found, targets = np.nonzero(self._total <= most)
        return self._group.rows[targets], self.places[found]


def _union(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(list(parts)))


def _rows_within(total: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return in which rows an element is at most rows[i] + columns[j]: bool."""
    kernels = compiled_kernels()
    if kernels is None:
        return (total <= rows[:, None] + columns).any(axis=1)
    near = np.empty(len(total), bool)
    kernels.rows_within(total, rows, columns, near)
    return near
