"""From a bank's responses to histograms over the adaptive bins (method, section 2, step 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sjft_tools.bins import Bins

# Equal cells between a channel's first and last edge, each with its first possible bin. More cells
# leave fewer edges in one; the table of a channel should stay in the fastest cache.
_CELLS = 8192


class _Channel(NamedTuple):
    """One channel's way from a response to its bin.

    `edges`: float32, the bins' upper edges, the last one and what lies beyond infinite; `start`,
    `scale`: a response's cell is (response - start) * scale, cut to 0.._CELLS-1; `first`: int64
    (_CELLS,), the number of edges in the cells below; `steps`: what to try to add to it, halving,
    to find the bin among the edges that share a cell.
    """

    edges: np.ndarray
    start: np.float32
    scale: np.float32
    first: np.ndarray
    steps: tuple[int, ...]


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


def _channel(edges: np.ndarray, minimum: np.float32) -> _Channel:
    # A response at the minimum belongs to bin 0 even where an edge lies on the minimum.
    above_minimum = np.nextafter(minimum, np.float32(np.inf))
    inner = np.maximum(_float32_at_least(edges[:-1]), above_minimum)
    start = inner[0]
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.float32(_CELLS) / (inner[-1] - start)
    if not np.isfinite(scale):
        scale = np.float32(0)
    cells = _cells(inner, start, scale)
    per_cell = np.bincount(cells, minlength=_CELLS)
    first = np.cumsum(per_cell) - per_cell
    most = int(per_cell.max())
    steps = tuple(1 << bit for bit in reversed(range(most.bit_length())))
    padding = np.full(1 + sum(steps), np.inf, np.float32)
    return _Channel(np.concatenate([inner, padding]), start, scale, first, steps)


class Histogrammer:
    """Counts responses in the bins: a response <= minimum in bin 0, one >= maximum in the last bin,
    any other in the first bin whose upper edge is strictly greater.

    In a channel that was constant over the target set all edges lie on that constant, so responses
    up to it fall in bin 0 and those above it in the last bin.
    """

    def __init__(self, bins: Bins) -> None:
        self.bins = bins.edges.shape[1]
        self._channels = [_channel(*pair) for pair in zip(bins.edges, bins.minimum)]

    def counts(self, responses: list[np.ndarray]) -> np.ndarray:
        """Return N x (D * B) counts, uint16 (uint32 if a map has more than 65,535 pixels).

        `responses`: for each layer N x channels x pixels float32, finite. A channel's B counts sum
        to its pixels; divided by them they are the method's histogram.
        """
        number = len(responses[0])
        pixels = max(layer.shape[2] for layer in responses)
        out = np.empty(
            (number, len(self._channels), self.bins), np.uint16 if pixels < 65536 else np.uint32
        )
        offsets = np.arange(number)[:, None] * self.bins
        channel = 0
        for layer in responses:
            for index in range(layer.shape[1]):
                found = self._bin(np.ascontiguousarray(layer[:, index]), self._channels[channel])
                found += offsets
                counted = np.bincount(found.ravel(), minlength=number * self.bins)
                out[:, channel] = counted.reshape(number, self.bins)
                channel += 1
        return out.reshape(number, -1)

    @staticmethod
    def _bin(values: np.ndarray, channel: _Channel) -> np.ndarray:
        """Return the bin of each value: first by the table, then by bisecting the cell's edges."""
        found = channel.first.take(_cells(values, channel.start, channel.scale))
        for step in channel.steps:
            found += step * (values >= channel.edges.take(found + (step - 1)))
        return found
