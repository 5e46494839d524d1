"""The first pass and the exact distances by torch on one device, a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sjft_tools.distance import QUANTUM, Distance
from sjft_tools.matching import operands
from sjft_tools.matching.device_arithmetic import fastest, multiply_in
from sjft_tools.matching.device_sources import DeviceSources, as_index, signed
from sjft_tools.matching.exact import compiled_for_gpu
from sjft_tools.matching.products import SOURCE_BLOCK
from sjft_tools.matching.rounding import Arithmetic, absolute_error, relative_error
from sjft_tools.torch_memory import gpu_memory

if TYPE_CHECKING:
    from sjft_tools.matching.exact import Units

#: On the device for each of T x dimensions: operands and counts.
BYTES = 10

# Sources at a time: every kernel takes a while to start. Many of them take some 2 GB a thread, and
# so much must be left beside the targets.
_MANY_SOURCES = 4096
_ROOM = 24 << 30

# Numbers of a layer that are held for the exact distances at a time, 8 bytes each and six times.
_MOST_NUMBERS = 1 << 25


class _Slab(NamedTuple):
    """What a slab's counts become, on the device: operands.Slab's tables, as _paired() has them."""

    part: slice
    of_sources: torch.Tensor
    of_targets: torch.Tensor
    own: torch.Tensor


class DevicePairs:
    """The pairs of `targets`, counts T x dimensions, with sources, reckoned on `device`.

    The first pass is reckoned in `arithmetic`, the device's fastest by default. Keeps the targets'
    operands and counts there, BYTES for each of T x dimensions, and the counts of the sources that
    came last to each thread. Raises InputError if the device keeps no bound on rounding.
    """

    #: While one's sources are copied, or its pairs sorted out, the device works for the others.
    at_once = 4

    def __init__(
        self,
        distance: Distance,
        targets: np.ndarray,
        device: str,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self._device = torch.device(device)
        self.block = best_block(self._device, *targets.shape)
        self.arithmetic = arithmetic or fastest(self._device)
        self._relative = relative_error(distance, self.arithmetic)
        self._absolute = absolute_error(distance)
        self._distance = distance
        self._slabs = [
            _Slab(
                slice(slab.start, slab.stop),
                self._to_device(_paired(slab.log, slab.share)),
                self._to_device(_paired(slab.weighted_share, slab.weighted_log)),
                self._to_device(slab.own),
            )
            for slab in operands.slabs(distance, self.arithmetic.bits)
        ]
        self._counts = signed(targets).to(self._device)
        self._operands = []
        own = torch.zeros(len(targets), dtype=torch.float64, device=self._device)
        for slab in self._slabs:
            index = as_index(self._counts[:, slab.part], len(slab.own))
            self._operands.append(_operand(index, slab.of_targets))
            own += slab.own[index].sum(dim=1)
        self._own = own.cpu().numpy()
        self._tables = [
            (self._to_device(layer.share), self._to_device(layer.log)) for layer in distance.layers
        ]
        # those that match, and the one that asks for upper bounds
        self._sources = DeviceSources(self._device, self.at_once + 1)
        self._compiled_units()  # once, before several threads ask for it

    @contextmanager
    def _working(self, sources: np.ndarray) -> Iterator[None]:
        """A block whose work on the device goes to the calling thread's stream."""
        sentence = (
            f"matching {len(sources)} sources at a time with {len(self._own)} target images "
            f"needs more memory than the GPU has free: expected a GPU that no other program "
            f"fills meanwhile, fewer targets at a time, or the product torch or numpy"
        )
        with gpu_memory(sentence), self._sources.stream():
            yield

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources, int64 (n,) each, of pairs that may be within limits.

        Sorted by source.
        """
        with self._working(sources):
            return self._near(*self._product(sources), limits)

    def _near(
        self, product: torch.Tensor, own: torch.Tensor, limits: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # As in CpuPairs.within().
        factor = (1 + self._relative) * (1 + 2.0**-21)
        by_target = self._to_device(((limits + self._own) * factor).astype(np.float32))
        by_source = ((own + self._absolute) * factor).to(torch.float32)
        found = (product <= by_source[:, None] + by_target).nonzero().cpu().numpy()
        return found[:, 1], found[:, 0]

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""
        with self._working(sources):
            product, own = self._product(sources)
            found = product.double().div_(1 - self._relative)
            found += self._absolute - own[:, None] - self._to_device(self._own)
            above = torch.nextafter(found.float(), torch.tensor(torch.inf, device=self._device))
            return above.cpu().numpy()

    def exact(self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the exact distance of each pair (target rows[i], source columns[i]): float64.

        Bit for bit Distance.exact()'s. By numba where it can compile for the GPU.
        """
        with self._working(sources):
            sums = self._all_units(self._sources.whole(sources), rows, columns)
        result = np.zeros(len(rows))
        for layer, units in zip(self._distance.layers, sums):
            result += layer.factor * (units * QUANTUM)
        return result

    def _all_units(
        self, counts: torch.Tensor, rows: np.ndarray, columns: np.ndarray
    ) -> Iterable[np.ndarray]:
        """Return what device_kernels.units() does."""
        layers = self._distance.layers
        compiled = self._compiled_units()
        if compiled is not None:
            return compiled(self._counts, counts, rows, columns, layers, self._tables)
        places = self._to_device(rows), self._to_device(columns)
        return [
            self._units(counts, *places, layer.start, layer.stop, *tables)
            for layer, tables in zip(layers, self._tables)
        ]

    def _compiled_units(self) -> Units | None:
        return compiled_for_gpu() if self._device.type == "cuda" else None

    def _units(
        self,
        counts: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        first: int,
        end: int,
        share: torch.Tensor,
        log: torch.Tensor,
    ) -> np.ndarray:
        """Return the sum over dimensions first..end-1 of each pair in units of QUANTUM: int64.

        Distance.exact()'s operations one by one, each in a kernel of its own, so that none are
        fused.
        """
        found = [np.empty(0, np.int64)]
        step = max(1, _MOST_NUMBERS // (end - first))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            p = as_index(self._counts[rows[some], first:end], len(share))
            q = as_index(counts[columns[some], first:end], len(share))
            terms = share[p].sub_(share[q])
            terms.mul_(log[p].sub_(log[q])).mul_(1 / QUANTUM).round_()
            found.append(terms.to(torch.int64).sum(dim=1).cpu().numpy())
        return np.concatenate(found)

    def _product(self, sources: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the product, S x T float32, and the sources' own(), float64 (S,)."""
        total = torch.zeros((len(sources), len(self._own)), device=self._device)
        own = torch.zeros(len(sources), dtype=torch.float64, device=self._device)
        parts = self._sources.by_parts(sources, [slab.part for slab in self._slabs])
        # zip() asks the first once more at the end: then the counts are kept
        for counts, slab, targets in zip(parts, self._slabs, self._operands):
            operand, here = self._source_operand(counts, slab)
            self._add_product(total, operand, targets)
            own += here
        return total, own

    @staticmethod
    def _source_operand(counts: torch.Tensor, slab: _Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sources' operand for a slab, and its part of their own()."""
        index = as_index(counts, len(slab.own))
        return _operand(index, slab.of_sources), slab.own[index].sum(dim=1)

    def _add_product(
        self, total: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor
    ) -> None:
        terms = self.arithmetic.terms
        multiply_in(self.arithmetic)
        for some, others in zip(sources.split(terms, dim=1), targets.split(terms, dim=1)):
            total.addmm_(some, others.T)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def best_block(device: torch.device, targets: int, dimensions: int) -> int:
    """Return how many sources at a time are fastest on the device, of those it has room for."""
    if device.type != "cuda":
        return SOURCE_BLOCK
    # by its number, None for the present one: the oldest torch takes no device without a number
    left = torch.cuda.mem_get_info(device.index)[0] - BYTES * targets * dimensions
    return _MANY_SOURCES if left > _ROOM else SOURCE_BLOCK


def _paired(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return two float32 tables as one, each two numbers in the place of one of 8 bytes."""
    return np.stack([left, right], axis=1).view(np.float64)[:, 0]


def _operand(index: torch.Tensor, paired: torch.Tensor) -> torch.Tensor:
    """Return what both tables say of each count, side by side: N x 2 n float32."""
    return paired[index].view(torch.float32)
