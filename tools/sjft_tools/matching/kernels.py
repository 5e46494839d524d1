"""The compiled parts of matching, with the results that numpy gives.

Importing this module raises ImportError where there is no numba. The functions give up Python's
lock, so that threads run them side by side.
"""

from __future__ import annotations

import numpy as np

from sjft_tools.compiled import compiled, compiled_in_any_order


@compiled
def look_up(counts: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Write left[counts], right[counts] side by side: `counts` N x n, `out` N x 2 n float32."""
    for row in range(len(counts)):
        _look_up_row(counts[row], left, right, out[row])


@compiled
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


@compiled
def merge(counts: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
    """Write the sums of counts between `ends`: `counts` N x C x B, `out` N x C x (ends - 1)."""
    for row in range(counts.shape[0]):
        for channel in range(counts.shape[1]):
            here, sums = counts[row, channel], out[row, channel]
            for run in range(len(ends) - 1):
                total = np.uint32(0)
                for i in range(ends[run], ends[run + 1]):
                    total += here[i]
                sums[run] = total


@compiled_in_any_order
def add_products(
    counts: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    targets: np.ndarray,
    places: np.ndarray,
    near: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add to total[s, t] the product of s and t, for t in places[s, : near[s]].

    `counts`: S x width; `targets`: float32, chunks x T x 2 n, operands of n dimensions at a time,
    [left, right] side by side, at the end of fewer; `places`: int32, S x T; `total`: S x T float32.
    """
    width, n = counts.shape[1], targets.shape[2] // 2
    operand = np.empty(2 * n, np.float32)
    for chunk in range(len(targets)):
        start, stop = chunk * n, min(chunk * n + n, width)
        for s in range(len(counts)):
            if near[s] > 0:
                _look_up_row(counts[s, start:stop], left, right, operand)
                here = operand[: 2 * (stop - start)]
                _add_row(here, targets[chunk], places[s, : near[s]], total[s])


@compiled
def _look_up_row(counts: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    width = len(counts)
    first, second = out[:width], out[width:]
    for i in range(width):
        count = np.uint32(counts[i])
        first[i] = left[count]
        second[i] = right[count]


@compiled_in_any_order
def _add_row(
    source: np.ndarray, targets: np.ndarray, places: np.ndarray, total: np.ndarray
) -> None:
    """Add to total[t] the product of source and targets[t, : len(source)], for t in `places`."""
    n, number = len(source), len(places)
    # Four targets at a time, so that a number of the source is loaded once for them.
    for k in range(0, number - 3, 4):
        a, b, c, d = places[k], places[k + 1], places[k + 2], places[k + 3]
        p, q, u, v = targets[a], targets[b], targets[c], targets[d]
        x = y = z = w = np.float32(0)
        for i in range(n):
            x += source[i] * p[i]
            y += source[i] * q[i]
            z += source[i] * u[i]
            w += source[i] * v[i]
        total[a] += x
        total[b] += y
        total[c] += z
        total[d] += w
    for k in range(number // 4 * 4, number):
        p = targets[places[k]]
        x = np.float32(0)
        for i in range(n):
            x += source[i] * p[i]
        total[places[k]] += x


@compiled
def keep_near(
    total: np.ndarray,
    rest: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    places: np.ndarray,
    near: np.ndarray,
) -> None:
    """Keep of places[s, : near[s]] those t with total + rest at [s, t] <= rows[s] + columns[t].

    They stay in order, at the beginning of places[s]; near[s] becomes their number.
    """
    for s in range(len(total)):
        sums, others, here, most = total[s], rest[s], places[s], rows[s]
        kept = 0
        for k in range(near[s]):
            t = here[k]
            here[kept] = t
            kept += sums[t] + others[t] <= most + columns[t]
        near[s] = kept


@compiled
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


@compiled
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


@compiled
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


@compiled
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
