"""The first pass on the CPU, slab of dimensions by slab.

At first every pair has the lower bound of its distance that merged bins give. Slab by slab, bins
take the place of merged ones, and pairs are dropped as soon as the bound is beyond the target's
limit. Sources of which many pairs are left go into one matrix product; other pairs are reckoned one
by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Callable, NamedTuple

import numpy as np

from sjft_tools.distance import Distance
from sjft_tools.matching import operands
from sjft_tools.matching.exact import ExactPairs, compiled_kernels
from sjft_tools.matching.merged import MergedBins
from sjft_tools.matching.operands import Slab
from sjft_tools.matching.products import SOURCE_BLOCK
from sjft_tools.matching.rounding import absolute_error, relative_error
from sjft_tools.threads import in_parts

#: (total S x T, sources S x n, targets T x n), float32: adds sources @ targets.T to total.
AddProduct = Callable[[np.ndarray, np.ndarray, np.ndarray], None]

# Targets that are matched together at most: more take more memory, fewer need the sources' operands
# more often.
_GROUP = 1280

# A source's products with that share of the targets, each alone, take as long as those with all.
_FEW = 0.35

# Sources that a thread takes at a time.
_PART = 32


class _Group(NamedTuple):
    """Targets that are matched together.

    `rows`: which; `operands`, `merged`: for each slab, as target_operand() returns them; `own`:
    float64, (slabs + 1) x targets, own() over the bins of the first 0, 1, ... slabs and the merged
    bins of the others.
    """

    rows: slice
    operands: list[np.ndarray]
    merged: list[np.ndarray]
    own: np.ndarray


class CpuPairs:
    """The pairs of `targets`, counts T x dimensions, with sources.

    Keeps the targets' operands in memory: 9 bytes for each of T x dimensions, and one more for the
    exact distances.
    """

    block = SOURCE_BLOCK
    at_once = 1  # all cores are busy with one block

    def __init__(self, distance: Distance, targets: np.ndarray, add_product: AddProduct) -> None:
        self._relative = relative_error(distance)
        self._absolute = absolute_error(distance)
        self._slabs = operands.slabs(distance)
        self._merge = MergedBins(distance)
        self._merged_slabs = [self._merge.slab(slab) for slab in self._slabs]
        self._count = len(targets)
        self._add_product = add_product
        self._groups = list(self._grouped(targets))
        self.exact = ExactPairs(distance, targets)

    def _grouped(self, targets: np.ndarray) -> Iterator[_Group]:
        merged = self._merge(targets)
        own = self._own(targets, merged)
        # As few groups as there may be, all of about one size.
        number = -(-len(targets) // _GROUP)
        ends = [len(targets) * i // number for i in range(number + 1)]
        for rows in map(slice, ends, ends[1:]):
            yield _Group(
                rows,
                [operands.target_operand(targets[rows], slab) for slab in self._slabs],
                [operands.target_operand(merged[rows], slab) for slab in self._merged_slabs],
                own[:, rows],
            )

    def _own(self, counts: np.ndarray, merged: np.ndarray) -> np.ndarray:
        """Return what _Group has as `own`, of any descriptors: (slabs + 1) x N."""
        none = np.zeros((1, len(counts)))
        first = np.concatenate([none, operands.own_up_to(counts, self._slabs)])
        others = np.concatenate([none, operands.own_up_to(merged, self._merged_slabs[::-1])])
        return first + others[::-1]

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources, int64 (n,) each, of pairs that may be within limits."""
        # The product must not exceed limit + own + own + absolute by more than the factor 1 + g;
        # and there are three float32 roundings of the right-hand side.
        factor = (1 + self._relative) * (1 + 2.0**-21)
        merged = self._merge(sources)
        by_source = ((self._own(sources, merged) + self._absolute) * factor).astype(np.float32)
        kernels = compiled_kernels()
        found = []
        for group in self._groups:
            by_target = ((limits[group.rows] + group.own) * factor).astype(np.float32)
            if kernels is None:
                most = by_source[-1][:, None] + by_target[-1]
                columns, rows = np.nonzero(self._products(sources, group) <= most)
            else:
                search = _Search(self._rest(merged, group), by_source, by_target, kernels)
                for slab, operand in zip(self._slabs, group.operands):
                    search.add(sources, slab, operand, self._add_product)
                columns, rows = search.found()
            found.append((rows + group.rows.start, columns))
        rows, columns = (np.concatenate(part) for part in zip(*found))
        order = np.argsort(columns, kind="stable")
        return rows[order], columns[order]

    def _rest(self, merged: np.ndarray, group: _Group) -> np.ndarray:
        """Return products of merged bins: (slabs + 1) x S x targets, those of slab i and after."""
        rest = np.zeros((len(self._slabs) + 1, len(merged), group.own.shape[1]), np.float32)
        for i in reversed(range(len(self._slabs))):
            rest[i] = rest[i + 1]
            slab = self._merged_slabs[i]
            here = merged[:, slab.start : slab.stop]
            _add_all_products(rest[i], here, slab, group.merged[i], self._add_product)
        return rest

    def _products(self, sources: np.ndarray, group: _Group) -> np.ndarray:
        """Return the products of all pairs with a group: S x targets float32."""
        total = np.zeros((len(sources), group.own.shape[1]), np.float32)
        for slab, operand in zip(self._slabs, group.operands):
            here = sources[:, slab.start : slab.stop]
            _add_all_products(total, here, slab, operand, self._add_product)
        return total

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""
        own = operands.own_up_to(sources, self._slabs)[-1, :, None]
        bounds = np.empty((len(sources), self._count), np.float32)
        for group in self._groups:
            found = self._products(sources, group).astype(np.float64) / (1 - self._relative)
            found += self._absolute - own - group.own[-1]
            bounds[:, group.rows] = np.nextafter(found.astype(np.float32), np.float32(np.inf))
        return bounds


def _add_all_products(
    total: np.ndarray,
    sources: np.ndarray,
    slab: Slab,
    targets: np.ndarray,
    add_product: AddProduct,
) -> None:
    """Add the products of all pairs over a slab to `total`: S x T float32.

    `sources`: the slab's counts; `targets`: as target_operand() returns them.
    """
    for chunk, operand in zip(operands.chunks(slab), targets):
        here = sources[:, chunk.start - slab.start : chunk.stop - slab.start]
        some = operands.source_operand(here, chunk)
        add_product(total, some, operand[:, : some.shape[1]])


class _Search:
    """The pairs of sources and a group's targets that may still be within their limits.

    `rest`: as _rest() returns it; `by_source`, `by_target`: float32, (slabs + 1) x S and x targets:
    a pair may be within its limit while its product over the first slabs and rest is at most the
    sum of the two.
    """

    def __init__(
        self, rest: np.ndarray, by_source: np.ndarray, by_target: np.ndarray, kernels: ModuleType
    ) -> None:
        self._rest = rest
        self._by_source = by_source
        self._by_target = by_target
        self._kernels = kernels
        _, sources, targets = rest.shape
        self._total = np.zeros((sources, targets), np.float32)
        self._places = np.tile(np.arange(targets, dtype=np.int32), (sources, 1))
        self._near = np.full(sources, targets, np.int64)
        self._slabs = 0
        self._drop()

    def add(
        self, sources: np.ndarray, slab: Slab, targets: np.ndarray, add_product: AddProduct
    ) -> None:
        """Go on by a slab. `targets`: their operand for it."""
        here = sources[:, slab.start : slab.stop]
        crowded = self._near > _FEW * self._total.shape[1]
        if crowded.any():
            total = self._total[crowded]
            _add_all_products(total, here[crowded], slab, targets, add_product)
            self._total[crowded] = total
        near = np.where(crowded, 0, self._near)

        def work(i: int, j: int) -> None:
            pairs = self._places[i:j], near[i:j], self._total[i:j]
            self._kernels.add_products(here[i:j], slab.log, slab.share, targets, *pairs)

        in_parts(work, len(sources), _PART)
        self._slabs += 1
        self._drop()

    def _drop(self) -> None:
        i = self._slabs
        self._kernels.keep_near(
            self._total,
            self._rest[i],
            self._by_source[i],
            self._by_target[i],
            self._places,
            self._near,
        )

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sources and the targets, int64, of the pairs that are left."""
        left = np.arange(self._places.shape[1]) < self._near[:, None]
        return np.nonzero(left)[0], self._places[left].astype(np.int64)
