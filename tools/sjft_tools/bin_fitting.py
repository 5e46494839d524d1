"""Fitting adaptive bins to the responses of a target set, in two passes (method, section 2).

The first pass takes each channel's minimum and maximum, the second counts the responses on a fine
grid between them; the bins' edges follow from the counts alone.
"""

from __future__ import annotations

import threading

import numpy as np

from sjft.errors import InputError
from sjft_tools.histogram import compiled_kernels

#: Equal intervals between a channel's minimum and maximum.
GRID = 2000


class ChannelRange:
    """First pass: the minimum and maximum of each channel, float32 (D,), over all images added.

    Any number of threads may add batches, in any order.
    """

    def __init__(self, channels: int) -> None:
        self.minimum = np.full(channels, np.inf, np.float32)
        self.maximum = np.full(channels, -np.inf, np.float32)
        self._lock = threading.Lock()

    def add(self, responses: list[np.ndarray]) -> None:
        """Take in a batch: for each layer N x channels x pixels float32."""
        lowest = np.concatenate([layer.min(axis=2).min(axis=0) for layer in responses])
        highest = np.concatenate([layer.max(axis=2).max(axis=0) for layer in responses])
        with self._lock:
            np.minimum(self.minimum, lowest, out=self.minimum)
            np.maximum(self.maximum, highest, out=self.maximum)

    def check_finite(self) -> None:
        """Raise InputError if a response was NaN or infinite: weights can be too large for that."""
        finite = np.isfinite(self.minimum) & np.isfinite(self.maximum)
        if not finite.all():
            raise InputError(
                f"the bank's responses are NaN or infinite in {int((~finite).sum())} of its "
                f"{len(finite)} channels: expected weights small enough for float32"
            )


class GridCounts:
    """Second pass: `counts`, D x GRID int64, the responses in each interval of the grids.

    Any number of threads may add batches, in any order.
    """

    def __init__(self, minimum: np.ndarray, maximum: np.ndarray) -> None:
        self.minimum = minimum.astype(np.float64)
        self.maximum = maximum.astype(np.float64)
        self.counts = np.zeros((len(minimum), GRID), np.int64)
        self._compiled = compiled_kernels()
        self._lock = threading.Lock()

    def add(self, responses: list[np.ndarray]) -> None:
        """Take in a batch: for each layer N x channels x pixels float32, within the range."""
        counts = np.zeros_like(self.counts)
        channel = 0
        for layer in responses:
            if self._compiled is not None:
                self._compiled.count_grid(
                    np.ascontiguousarray(layer), self.minimum, self.maximum, channel, counts
                )
            else:
                self._count(layer, channel, counts)
            channel += layer.shape[1]
        with self._lock:
            self.counts += counts

    def _count(self, layer: np.ndarray, channel: int, counts: np.ndarray) -> None:
        """Do what histogram_kernels.count_grid does."""
        for h, values in enumerate(layer.transpose(1, 0, 2), channel):
            cells = grid_cells(values, self.minimum[h], self.maximum[h])
            counts[h] += np.bincount(cells.ravel(), minlength=GRID)


def grid_cells(values: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """Return the grid interval, int64 in 0..GRID-1, of each of one channel's responses.

    Reckoned in float64. The maximum belongs to the last interval, as do all responses of a constant
    channel.
    """
    if minimum == maximum:
        return np.full(values.shape, GRID - 1)
    steps = (values.astype(np.float64) - minimum) * (GRID / (maximum - minimum))
    return np.minimum(steps.astype(np.int64), GRID - 1)


def upper_edges(counts: np.ndarray, minimum: float, maximum: float, bins: int) -> np.ndarray:
    """Walk one channel's grid; return the `bins` upper edges, float64, ascending, last = maximum.

    `counts`: int64 (GRID,). An interval's share is its count / (total + 1). Where the share since
    the last closing reaches 1 / bins, the stretch since then is split evenly into
    floor(share * bins) bins and the count starts again from zero; the bins still missing at the
    end split the last stretch. The comparison is made in integers, where it is exact:
    share >= 1 / bins is count * bins >= total + 1. The shares' sum is below 1, so that one bin at
    least is left for the end.
    """
    whole = int(counts.sum()) + 1
    step = (maximum - minimum) / GRID
    edges: list[float] = []
    closed_at = minimum
    waiting = 0
    for interval, count in enumerate(counts.tolist()):
        waiting += count
        pieces = waiting * bins // whole
        if pieces:
            end = minimum + (interval + 1) * step
            edges += _split(closed_at, end, pieces)
            closed_at = end
            waiting = 0
    edges += _split(closed_at, maximum, bins - len(edges))
    # Rounding may lift an edge at the grid's end above the maximum by a last digit.
    return np.minimum(np.array(edges), maximum)


def _split(start: float, end: float, pieces: int) -> list[float]:
    """Return the upper edges of `pieces` equal parts of start..end; the last is `end` itself."""
    inner = [start + (end - start) * piece / pieces for piece in range(1, pieces)]
    return [*inner, end]


def all_upper_edges(grid: GridCounts, bins: int) -> np.ndarray:
    """Return the edges of every channel, D x bins float64."""
    rows = zip(grid.counts, grid.minimum.tolist(), grid.maximum.tolist())
    return np.array([upper_edges(counts, low, high, bins) for counts, low, high in rows])
