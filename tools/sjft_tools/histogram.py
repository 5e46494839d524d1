"""From a bank's responses to histograms over the adaptive bins (method, section 2, step 3)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sjft_tools.bins import Bins

# Equal cells between a channel's first and last edge, each with its first possible bin. More cells
# leave fewer edges in one; the table of a channel should stay in the fastest cache.
_CELLS = 4096


def compiled_kernels() -> Any | None:
    """Return the module sjft_tools.histogram_kernels, or None where there is no numba for it."""
    try:
        return importlib.import_module("sjft_tools.histogram_kernels")
    except ImportError:
        return None


class Table(NamedTuple):
    """The way from a response to its bin, for each of D channels.

    `start`, `scale`: float32 (D,); a response's cell is (response - start) * scale, cut to
    0.._CELLS-1. `first`: D x _CELLS integers, the number of edges in the cells below. `edges`:
    float32, the bins' upper edges in each row, the last one and what lies beyond infinite.
    `widest`: int64 (D,), the first step to try, then its halves, to find the bin among the edges
    that share a cell: a power of two.
    """

    start: np.ndarray
    scale: np.ndarray
    first: np.ndarray
    edges: np.ndarray
    widest: np.ndarray


def _cells(values: np.ndarray, start: np.float32, scale: np.float32) -> np.ndarray:
    """Return the cell of each float32 value: rounding included, it never falls as values rise."""
    steps = values - start
    steps *= scale
    np.clip(steps, 0, _CELLS - 1, out=steps)
    return steps.astype(np.intp)


def _float32_at_least(values: np.ndarray) -> np.ndarray:
    """Round float64 up to float32: a float32 value is below both or below neither."""
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(np.inf)), rounded)


def inner_edges(bins: Bins) -> np.ndarray:
    """Return float32 D x (B-1), ascending: a response's bin is the number of those not above it."""
    # A response at the minimum belongs to bin 0 even where an edge lies on the minimum.
    above_minimum = np.nextafter(bins.minimum, np.float32(np.inf))
    return np.maximum(_float32_at_least(bins.edges[:, :-1]), above_minimum[:, None])


def counts_type(layers: Sequence[Any]) -> type[np.unsignedinteger]:
    """Return the integers for counts of N x channels x pixels responses: uint16, if they do."""
    return np.uint16 if max(layer.shape[2] for layer in layers) < 65536 else np.uint32


def _table(inner: np.ndarray) -> Table:
    start = inner[:, 0].copy()
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.float32(_CELLS) / (inner[:, -1] - start)
    scale[~np.isfinite(scale)] = 0
    first = np.empty((len(inner), _CELLS), np.min_scalar_type(inner.shape[1] + 1))
    widest = np.empty(len(inner), np.int64)
    for channel, edges in enumerate(inner):
        cells = _cells(edges, start[channel], scale[channel])
        per_cell = np.bincount(cells, minlength=_CELLS)
        first[channel] = np.cumsum(per_cell) - per_cell
        widest[channel] = 1 << (int(per_cell.max()).bit_length() - 1)
    # The steps add up to less than twice the widest.
    padding = np.full((len(inner), 2 * int(widest.max())), np.inf, np.float32)
    return Table(start, scale, first, np.hstack([inner, padding]), widest)


class Histogrammer:
    """Counts responses in the bins: a response <= minimum in bin 0, one >= maximum in the last bin,
    any other in the first bin whose upper edge is strictly greater.

    In a channel that was constant over the target set all edges lie on that constant, so responses
    up to it fall in bin 0 and those above it in the last bin.
    """

    def __init__(self, bins: Bins) -> None:
        self.bins = bins.edges.shape[1]
        self.inner = inner_edges(bins)
        self._table = _table(self.inner)
        self._compiled = compiled_kernels()

    def counts(self, responses: list[np.ndarray]) -> np.ndarray:
        """Return N x (D * B) counts, uint16 (uint32 if a map has more than 65,535 pixels).

        `responses`: for each layer N x channels x pixels float32, finite. A channel's B counts sum
        to its pixels; divided by them they are the method's histogram. Any number of threads may
        call it at once.
        """
        number = len(responses[0])
        out = np.empty((number, len(self.inner), self.bins), counts_type(responses))
        channel = 0
        for layer in responses:
            if self._compiled is not None:
                layer = np.ascontiguousarray(layer)  # one memory order, one compilation
                self._compiled.count_bins(layer, *self._table, channel, out)
            else:
                self._count(layer, channel, out)
            channel += layer.shape[1]
        return out.reshape(number, -1)

    def _count(self, layer: np.ndarray, channel: int, out: np.ndarray) -> None:
        """Do what histogram_kernels.count_bins does."""
        number = len(layer)
        offsets = np.arange(number)[:, None] * self.bins
        for index in range(layer.shape[1]):
            found = self._bin(np.ascontiguousarray(layer[:, index]), channel + index)
            found += offsets
            counted = np.bincount(found.ravel(), minlength=number * self.bins)
            out[:, channel + index] = counted.reshape(number, self.bins)

    def _bin(self, values: np.ndarray, channel: int) -> np.ndarray:
        """Return the bin of each value: first by the table, then by bisecting the cell's edges."""
        table = self._table
        cells = _cells(values, table.start[channel], table.scale[channel])
        found = table.first[channel].take(cells).astype(np.intp)
        edges = table.edges[channel]
        step = int(table.widest[channel])
        while step:
            found += step * (values >= edges.take(found + (step - 1)))
            step >>= 1
        return found
