"""The exact distances of single pairs, compiled where numba is there; the same ones where not."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Callable, NamedTuple

import numpy as np

from sjft_tools.distance import QUANTUM, Distance, LayerTables
from sjft_tools.threads import in_parts

# The least count that has no place in the tables of terms: counts are cut to it there.
_LARGE = 255
# Pairs and descriptors that a thread takes at a time.
_PART, _ROWS = 256, 64


def compiled_kernels() -> ModuleType | None:
    """Return the module sjft_tools.matching.kernels, or None where there is no numba for it."""
    try:
        from sjft_tools.matching import kernels
    except ImportError:
        return None
    return kernels


#: units(targets, sources, rows, columns, layers, tables) -> each layer's and pair's sum in units of
#: QUANTUM: see device_kernels.units()
Units = Callable[..., np.ndarray]


@functools.cache
def compiled_for_gpu() -> Units | None:
    """Return device_kernels.units, or None, and say why, where numba cannot compile for a GPU."""
    try:
        from sjft_tools.matching import device_kernels

        device_kernels.try_units()
    except Exception as error:  # of whatever kind: numba, a driver or a library is missing
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(
            f"sjft: numba cannot compile for this GPU ({reason[0]}): torch computes the exact "
            f"distances, several times slower; {_remedy()} may help",
            file=sys.stderr,
        )
        return None
    return device_kernels.units


def _remedy() -> str:
    """Return the command that installs what torch's CUDA needs."""
    import torch

    major = (torch.version.cuda or "13").split(".")[0]
    return f"\"pip install 'numba-cuda[cu{major}]'\""


class _Counts(NamedTuple):
    """A layer's counts, N x n: whole; cut to 255; and where a row has larger ones, row by row."""

    whole: np.ndarray
    cut: np.ndarray
    starts: np.ndarray
    places: np.ndarray


class ExactPairs:
    """The exact distances of pairs of `targets`, counts T x dimensions, and any sources."""

    def __init__(self, distance: Distance, targets: np.ndarray) -> None:
        self._distance = distance
        self._targets = targets
        self._kernels = compiled_kernels()
        if self._kernels is not None:
            self._layers = [_of_layer(targets, layer, self._kernels) for layer in distance.layers]
            self._terms = [_terms(layer) for layer in distance.layers]

    def __call__(self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the distance of each pair (targets[rows[i]], sources[columns[i]]): float64 (n,).

        `sources`: counts, S x dimensions. Bit for bit Distance.exact()'s.
        """
        if self._kernels is None:
            return self._one_source_at_a_time(sources, rows, columns)
        result = np.zeros(len(rows))
        for layer, targets, terms in zip(self._distance.layers, self._layers, self._terms):
            of_sources = _of_layer(sources, layer, self._kernels)
            units = self._units(targets, of_sources, terms, layer, rows, columns)
            result += layer.factor * (units * QUANTUM)
        return result

    def _units(
        self,
        targets: _Counts,
        sources: _Counts,
        terms: np.ndarray,
        layer: LayerTables,
        rows: np.ndarray,
        columns: np.ndarray,
    ) -> np.ndarray:
        """Return a layer's sum for each pair in units of QUANTUM: int64 (n,)."""
        kernels = self._kernels
        assert kernels is not None
        units = np.empty(len(rows), np.int64)
        scaled = layer.share / QUANTUM

        def work(start: int, stop: int) -> None:
            some = rows[start:stop], columns[start:stop]
            out = units[start:stop]
            kernels.small_terms(targets.cut, sources.cut, *some, terms, out)
            large = targets.starts, targets.places, sources.starts, sources.places
            kernels.add_large_terms(
                targets.whole, sources.whole, *some, *large, scaled, layer.log, out
            )

        in_parts(work, len(rows), _PART)
        return units

    def _one_source_at_a_time(
        self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> np.ndarray:
        result = np.empty(len(rows))
        order = np.argsort(columns, kind="stable")
        distinct, starts = np.unique(columns[order], return_index=True)
        for column, places in zip(distinct, np.split(order, starts[1:])):
            result[places] = self._distance.exact(self._targets[rows[places]], sources[column])
        return result


def _of_layer(counts: np.ndarray, layer: LayerTables, kernels: ModuleType) -> _Counts:
    whole = counts[:, layer.start : layer.stop]
    cut = np.empty(whole.shape, np.uint8)
    large = np.empty(len(whole), np.int64)
    in_parts(lambda i, j: kernels.cut(whole[i:j], cut[i:j], large[i:j]), len(whole), _ROWS)
    starts = np.append(0, np.cumsum(large))
    places = np.empty(starts[-1], np.int64)
    kernels.large_places(cut, starts, places)
    return _Counts(whole, cut, starts, places)


def _terms(layer: LayerTables) -> np.ndarray:
    """Return the terms of counts p and q below 255, in units of QUANTUM, at 256 * p + q: int64."""
    share, log = layer.share[:_LARGE] / QUANTUM, layer.log[:_LARGE]
    terms = np.zeros((256, 256), np.int64)
    size = len(share)
    terms[:size, :size] = np.rint((share[:, None] - share) * (log[:, None] - log))
    return terms.ravel()
