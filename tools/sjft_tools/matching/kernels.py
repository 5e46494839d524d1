"""The compiled parts of matching, with the results that numpy gives.

Importing this module raises ImportError where there is no numba. The functions give up Python's
lock, so that threads run them side by side.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from numba import njit


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called, or load what an earlier process compiled."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(nogil=True)(function)


@_compiled
def look_up(
    counts: np.ndarray, rows: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:
    """Write left[counts[rows]], right[counts[rows]]: `counts` N x n, `out` rows x 2 n float32."""
    width = counts.shape[1]
    for row in range(len(rows)):
        here, first, second = counts[rows[row]], out[row, :width], out[row, width:]
        for i in range(width):
            count = np.uint32(here[i])
            first[i] = left[count]
            second[i] = right[count]


@_compiled
def add_own(counts: np.ndarray, own: np.ndarray, out: np.ndarray) -> None:
    """Add the sums of own[counts] over each row: `counts` N x n, `own` and `out` float64."""
    number, width = counts.shape
    for row in range(number):
        here = counts[row]
        first = second = third = fourth = 0.0
        for i in range(width // 4):
            first += own[np.uint32(here[4 * i])]
            second += own[np.uint32(here[4 * i + 1])]
            third += own[np.uint32(here[4 * i + 2])]
            fourth += own[np.uint32(here[4 * i + 3])]
        for i in range(width // 4 * 4, width):
            first += own[np.uint32(here[i])]
        out[row] += (first + second) + (third + fourth)


@_compiled
def rows_within(
    products: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray
) -> None:
    """Write in which rows an element products[i, j] is at most rows[i] + columns[j]."""
    number, width = products.shape
    for row in range(number):
        here, limit = products[row], rows[row]
        found = False
        for start in range(0, width, 64):
            for j in range(start, min(start + 64, width)):
                found |= here[j] <= limit + columns[j]
            if found:
                break
        out[row] = found


@_compiled
def cut(counts: np.ndarray, out: np.ndarray, large: np.ndarray) -> None:
    """Write counts cut to 255, N x n uint8, and how many are that large in each row, int64."""
    number, width = counts.shape
    for row in range(number):
        here, cut_here = counts[row], out[row]
        found = np.int64(0)
        for i in range(width):
            count = min(here[i], 255)
            cut_here[i] = count
            found += count == 255
        large[row] = found


@_compiled
def large_places(cut_counts: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
    """Write where the elements 255 are, row by row, row i from out[starts[i]] on: int64."""
    number, width = cut_counts.shape
    for row in range(number):
        here, at = cut_counts[row], starts[row]
        if starts[row + 1] > at:
            for i in range(width):
                if here[i] == 255:
                    out[at] = i
                    at += 1


@_compiled
def small_terms(
    targets: np.ndarray,
    sources: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    table: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the sum of table[256 * p + q] over a layer's dimensions for each pair: int64 (n,).

    `targets`, `sources`: uint8, T x n and S x n, counts cut to 255; `table`: int64 (65536,).
    """
    width = targets.shape[1]
    for i in range(len(rows)):
        p, q = targets[rows[i]], sources[columns[i]]
        # Four sums, so that loads need not wait for each other.
        first = second = third = fourth = np.int64(0)
        for k in range(width // 4):
            d = 4 * k
            first += table[(np.uint32(p[d]) << np.uint32(8)) | np.uint32(q[d])]
            second += table[(np.uint32(p[d + 1]) << np.uint32(8)) | np.uint32(q[d + 1])]
            third += table[(np.uint32(p[d + 2]) << np.uint32(8)) | np.uint32(q[d + 2])]
            fourth += table[(np.uint32(p[d + 3]) << np.uint32(8)) | np.uint32(q[d + 3])]
        for d in range(width // 4 * 4, width):
            first += table[(np.uint32(p[d]) << np.uint32(8)) | np.uint32(q[d])]
        out[i] = (first + second) + (third + fourth)


@_compiled
def add_large_terms(
    targets: np.ndarray,
    sources: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    target_starts: np.ndarray,
    target_places: np.ndarray,
    source_starts: np.ndarray,
    source_places: np.ndarray,
    scaled_share: np.ndarray,
    log: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the terms in which a count is 255 or more, rounded to integers, for each pair.

    `targets`, `sources`: counts of a layer, T x n and S x n. Target t's large counts are at
    target_places[target_starts[t] : target_starts[t + 1]], and the sources' alike.
    """
    for i in range(len(rows)):
        t, s = rows[i], columns[i]
        p, q = targets[t], sources[s]
        total = np.int64(0)
        for k in range(target_starts[t], target_starts[t + 1]):
            a, b = p[target_places[k]], q[target_places[k]]
            total += np.int64(np.rint((scaled_share[a] - scaled_share[b]) * (log[a] - log[b])))
        for k in range(source_starts[s], source_starts[s + 1]):
            a, b = p[source_places[k]], q[source_places[k]]
            if a < 255:
                total += np.int64(np.rint((scaled_share[a] - scaled_share[b]) * (log[a] - log[b])))
        out[i] += total
