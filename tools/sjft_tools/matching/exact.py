"""The exact distances of single pairs."""

from __future__ import annotations

import numpy as np

from sjft_tools.distance import Distance


def exact_pairs(
    distance: Distance,
    targets: np.ndarray,
    sources: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Return the exact distance of each pair (targets[rows[i]], sources[columns[i]]): float64.

    `targets`, `sources`: counts, T x dimensions and S x dimensions; `columns`: ascending.
    """
    result = np.empty(len(rows))
    distinct, starts = np.unique(columns, return_index=True)
    ends = np.append(starts[1:], len(rows))
    for column, start, end in zip(distinct, starts, ends):
        result[start:end] = distance.exact(targets[rows[start:end]], sources[column])
    return result
