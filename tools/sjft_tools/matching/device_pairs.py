"""The first pass and the exact distances by torch on one device, a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sjft_tools.distance import QUANTUM, Distance
from sjft_tools.matching import operands
from sjft_tools.matching.device_arithmetic import fastest, multiplying
from sjft_tools.matching.rounding import Arithmetic, absolute_error, relative_error

if TYPE_CHECKING:
    from sjft_tools.matching.device_kernels import Units

#: On the device for each of T x dimensions: operands and counts.
BYTES = 10

# Numbers of a layer that are held for the exact distances at a time, 8 bytes each and six times.
_MOST_NUMBERS = 1 << 25


class _Slab(NamedTuple):
    """What a slab's counts become, on the device: operands.Slab's tables for sources."""

    start: int
    stop: int
    log: torch.Tensor
    share: torch.Tensor
    own: torch.Tensor


class DevicePairs:
    """The pairs of `targets`, counts T x dimensions, with sources, reckoned on `device`.

    The first pass is reckoned in `arithmetic`, the device's fastest by default. Keeps the targets'
    operands and counts there, BYTES for each of T x dimensions, and the counts of the sources that
    came last. Raises InputError if the device keeps no bound on rounding.
    """

    def __init__(
        self,
        distance: Distance,
        targets: np.ndarray,
        device: str,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self._device = torch.device(device)
        self.arithmetic = arithmetic or fastest(self._device)
        self._relative = relative_error(distance, self.arithmetic)
        self._absolute = absolute_error(distance)
        self._distance = distance
        slabs = operands.slabs(distance, self.arithmetic.bits)
        self._counts = self._upload(targets)
        self._operands = []
        for slab in slabs:
            tables = map(self._to_device, (slab.weighted_share, slab.weighted_log))
            self._operands.append(_operand(_index(self._counts, slab.start, slab.stop), *tables))
        self._slabs = [
            _Slab(s.start, s.stop, *map(self._to_device, (s.log, s.share, s.own))) for s in slabs
        ]
        self._own = operands.own_up_to(targets, slabs)[-1]
        self._tables = [
            (self._to_device(layer.share), self._to_device(layer.log)) for layer in distance.layers
        ]
        self._last: tuple[np.ndarray, torch.Tensor] | None = None
        on_gpu = self._device.type == "cuda"
        self._copying = torch.cuda.Stream(self._device) if on_gpu else None

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources, int64 (n,) each, of pairs that may be within limits.

        Sorted by source.
        """
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
        product, own = self._product(sources)
        found = product.double().div_(1 - self._relative)
        found += self._absolute - own[:, None] - self._to_device(self._own)
        above = torch.nextafter(found.float(), torch.tensor(torch.inf, device=self._device))
        return above.cpu().numpy()

    def exact(self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the exact distance of each pair (target rows[i], source columns[i]): float64.

        Bit for bit Distance.exact()'s. By numba where it can compile for the GPU.
        """
        counts, layers = self._held(sources), self._distance.layers
        compiled = self._compiled_units()
        sums: Iterable[np.ndarray]
        if compiled is not None:
            sums = compiled(self._counts, counts, rows, columns, layers, self._tables)
        else:
            places = self._to_device(rows), self._to_device(columns)
            sums = [
                self._units(counts, *places, layer.start, layer.stop, *tables)
                for layer, tables in zip(layers, self._tables)
            ]
        result = np.zeros(len(rows))
        for layer, units in zip(layers, sums):
            result += layer.factor * (units * QUANTUM)
        return result

    def _compiled_units(self) -> Units | None:
        if self._device.type != "cuda":
            return None
        try:
            from sjft_tools.matching.device_kernels import compiled_units
        except ImportError:
            return None
        return compiled_units()

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
            p = _index(self._counts[rows[some]], first, end)
            q = _index(counts[columns[some]], first, end)
            terms = share[p].sub_(share[q])
            terms.mul_(log[p].sub_(log[q])).mul_(1 / QUANTUM).round_()
            found.append(terms.to(torch.int64).sum(dim=1).cpu().numpy())
        return np.concatenate(found)

    def _product(self, sources: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the product, S x T float32, and the sources' own(), float64 (S,)."""
        total = torch.zeros((len(sources), len(self._own)), device=self._device)
        own = torch.zeros(len(sources), dtype=torch.float64, device=self._device)
        # zip() asks the first once more at the end: then the counts are kept
        for counts, slab, targets in zip(self._by_slab(sources), self._slabs, self._operands):
            operand, here = self._source_operand(counts, slab)
            self._add_product(total, operand, targets)
            own += here
        return total, own

    @staticmethod
    def _source_operand(counts: torch.Tensor, slab: _Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sources' operand for a slab, and its part of their own()."""
        index = _index(counts, 0, slab.stop - slab.start)
        return _operand(index, slab.log, slab.share), slab.own[index].sum(dim=1)

    def _add_product(
        self, total: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor
    ) -> None:
        terms = self.arithmetic.terms
        with multiplying(self.arithmetic):
            for some, others in zip(sources.split(terms, dim=1), targets.split(terms, dim=1)):
                total.addmm_(some, others.T)

    def _by_slab(self, sources: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield the counts of `sources` slab by slab, on the device, and keep them all there.

        From page-locked memory and in a stream of their own: so a slab is brought while the device
        still multiplies the one before.
        """
        if self._last is not None and self._last[0] is sources:
            yield from (self._last[1][:, slab.start : slab.stop] for slab in self._slabs)
            return
        self._last = None  # its memory first
        counts = _signed(sources)
        kept = torch.empty(counts.shape, dtype=counts.dtype, device=self._device)
        locked = self._copying is not None
        for slab in self._slabs:
            some = counts[:, slab.start : slab.stop]
            # torch uses this memory again only when it has been copied from
            staged = torch.empty(some.shape, dtype=some.dtype, pin_memory=locked).copy_(some)
            with torch.cuda.stream(self._copying):
                arriving = staged.to(self._device, non_blocking=True)
            if self._copying is not None:
                using = torch.cuda.current_stream(self._device)
                using.wait_stream(self._copying)
                arriving.record_stream(using)  # nor this before it has been used
            yield kept[:, slab.start : slab.stop].copy_(arriving)
        self._last = sources, kept

    def _held(self, sources: np.ndarray) -> torch.Tensor:
        """Return `sources` on the device: copied there once, though asked about twice."""
        if self._last is None or self._last[0] is not sources:
            self._last = None  # its memory first
            self._last = sources, self._upload(sources)
        return self._last[1]

    def _upload(self, counts: np.ndarray) -> torch.Tensor:
        """Copy counts to the device."""
        return _signed(counts).to(self._device)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _signed(counts: np.ndarray) -> torch.Tensor:
    """Return counts as signed integers of their size, which torch can index."""
    return torch.from_numpy(np.ascontiguousarray(counts).view(f"i{counts.dtype.itemsize}"))


def _index(counts: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Return what _signed() took for signed integers as the counts that they are: int64."""
    return counts[:, start:stop].long() & (0xFFFF if counts.dtype == torch.int16 else 0xFFFFFFFF)


def _operand(index: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.cat([left[index], right[index]], dim=1)
