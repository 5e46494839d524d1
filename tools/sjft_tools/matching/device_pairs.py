"""The first pass and the exact distances by torch on one device, a GPU."""

from __future__ import annotations

import numpy as np
import torch

from sjft_tools.distance import QUANTUM, Distance
from sjft_tools.matching import operands

# Numbers of a layer that are held for the exact distances at a time, 8 bytes each and six times.
_MOST_NUMBERS = 1 << 25


class DevicePairs:
    """The pairs of `targets`, counts T x dimensions, with sources, reckoned on `device`.

    Keeps the targets' operands and counts there: 10 bytes for each of T x dimensions.
    """

    def __init__(self, distance: Distance, targets: np.ndarray, device: str) -> None:
        self._relative = operands.relative_error(distance)
        self._absolute = operands.absolute_error(distance)
        self._distance = distance
        self._device = torch.device(device)
        self._slabs = operands.slabs(distance)
        self._counts = self._upload(targets)
        self._operands = []
        for slab in self._slabs:
            tables = slab.weighted_share, slab.weighted_log
            self._operands.append(self._operand(self._counts, slab, *tables))
        self._own = operands.own_up_to(targets, self._slabs)[-1]

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and sources, int64 (n,) each, of pairs that may be within limits."""
        # As in CpuPairs.within().
        factor = (1 + self._relative) * (1 + 2.0**-21)
        own = operands.own_up_to(sources, self._slabs)[-1]
        by_target = self._to_device(((limits + self._own) * factor).astype(np.float32))
        by_source = self._to_device(((own + self._absolute) * factor).astype(np.float32))
        found = (self._product(sources) <= by_source[:, None] + by_target).nonzero().cpu().numpy()
        return found[:, 1], found[:, 0]

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""
        own = operands.own_up_to(sources, self._slabs)[-1, :, None]
        product = self._product(sources).cpu().numpy().astype(np.float64)
        found = product / (1 - self._relative) - own - self._own + self._absolute
        return np.nextafter(found.astype(np.float32), np.float32(np.inf))

    def exact(self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the exact distance of each pair (target rows[i], source columns[i]): float64.

        Distance.exact()'s operations one by one, each in a kernel of its own, so that none are
        fused: bit for bit its results.
        """
        result = np.zeros(len(rows))
        counts = self._upload(sources)
        for layer in self._distance.layers:
            here = slice(layer.start, layer.stop)
            share, log = self._to_device(layer.share), self._to_device(layer.log)
            units = []
            step = max(1, _MOST_NUMBERS // (layer.stop - layer.start))
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                p = _index(self._counts[self._to_device(rows[some])][:, here])
                q = _index(counts[self._to_device(columns[some])][:, here])
                terms = share[p].sub_(share[q])
                terms.mul_(log[p].sub_(log[q])).mul_(1 / QUANTUM).round_()
                units.append(terms.to(torch.int64).sum(dim=1).cpu().numpy())
            if units:
                result += layer.factor * (np.concatenate(units) * QUANTUM)
        return result

    def _product(self, sources: np.ndarray) -> torch.Tensor:
        counts = self._upload(sources)
        total = torch.zeros((len(sources), len(self._own)), device=self._device)
        for slab, targets in zip(self._slabs, self._operands):
            total.addmm_(self._operand(counts, slab, slab.log, slab.share), targets.T)
        return total

    def _operand(
        self, counts: torch.Tensor, slab: operands.Slab, left: np.ndarray, right: np.ndarray
    ) -> torch.Tensor:
        here = _index(counts[:, slab.start : slab.stop])
        return torch.cat([self._to_device(left)[here], self._to_device(right)[here]], dim=1)

    def _upload(self, counts: np.ndarray) -> torch.Tensor:
        """Copy counts to the device as signed integers of their size, which torch can index."""
        return self._to_device(counts.view(f"i{counts.dtype.itemsize}"))

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _index(counts: torch.Tensor) -> torch.Tensor:
    """Return what _upload() took for signed integers as the counts that they are: int64."""
    return counts.long() & (0xFFFF if counts.dtype == torch.int16 else 0xFFFFFFFF)
