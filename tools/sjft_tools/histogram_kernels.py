"""Counting responses, compiled: what histogram.py and bin_fitting.py do, with the same results.

Importing this module raises ImportError where there is no numba; numpy does the work then. The
functions give up Python's lock, so that threads run them side by side.
"""

from __future__ import annotations

import numpy as np

from sjft_tools.compiled import compiled


@compiled
def count_bins(
    values: np.ndarray,
    start: np.ndarray,
    scale: np.ndarray,
    first: np.ndarray,
    edges: np.ndarray,
    widest: np.ndarray,
    channel: int,
    out: np.ndarray,
) -> None:
    """Write the counts of N x C x P float32 responses, of the channels from `channel` on.

    `out`: N x D x B; the other arrays are a histogram.Table's.
    """
    number, channels, pixels = values.shape
    bins = out.shape[2]
    last = np.float32(first.shape[1] - 1)
    zero = np.float32(0)
    cells = np.empty(pixels, np.int32)
    # Two rows, for consecutive pixels often share a bin and would wait for each other.
    counts = np.empty((2, bins), np.int64)
    for c in range(channels):
        h = channel + c
        low, factor, steps = start[h], scale[h], widest[h]
        table, upper = first[h], edges[h]
        for n in range(number):
            line = values[n, c]
            for p in range(pixels):
                cell = (line[p] - low) * factor
                cell = cell if cell > zero else zero  # NaN, too: no index may be out of bounds
                cells[p] = np.int32(cell if cell < last else last)
            counts[:] = 0
            even, odd = counts[0], counts[1]
            if steps <= 1:  # no cell holds more than one edge
                for q in range(pixels // 2):
                    p = 2 * q
                    found = np.intp(table[cells[p]])
                    even[found + np.intp(line[p] >= upper[found])] += 1
                    found = np.intp(table[cells[p + 1]])
                    odd[found + np.intp(line[p + 1] >= upper[found])] += 1
                if pixels % 2:
                    found = np.intp(table[cells[pixels - 1]])
                    even[found + np.intp(line[pixels - 1] >= upper[found])] += 1
            else:
                for p in range(pixels):
                    found = np.intp(table[cells[p]])
                    step = steps
                    while step > 0:
                        found += step * np.intp(line[p] >= upper[found + step - 1])
                        step >>= 1
                    even[found] += 1
            for b in range(bins):
                out[n, h, b] = even[b] + odd[b]


@compiled
def count_grid(
    values: np.ndarray,
    minimum: np.ndarray,
    maximum: np.ndarray,
    channel: int,
    counts: np.ndarray,
) -> None:
    """Add N x C x P float32 responses, of the channels from `channel` on, to `counts`, D x GRID.

    `minimum`, `maximum`: float64 (D,), which no response lies beyond; see bin_fitting.grid_cells.
    """
    number, channels, pixels = values.shape
    grid = counts.shape[1]
    for c in range(channels):
        h = channel + c
        low, row = minimum[h], counts[h]
        if low == maximum[h]:
            row[grid - 1] += number * pixels
            continue
        steps = grid / (maximum[h] - low)
        for n in range(number):
            line = values[n, c]
            for p in range(pixels):
                cell = np.intp((np.float64(line[p]) - low) * steps)
                row[min(cell, grid - 1)] += 1
