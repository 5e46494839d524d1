"""Putting targets that resemble each other in one group.

Few sources are near any target of such a group, and the others are soon dropped.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 8


def groups(features: np.ndarray, most: int) -> list[np.ndarray]:
    """Return the rows of `features`, float32 N x n, in groups of at most `most`: int64 arrays.

    Halves that differ most, by the order along the features' first principal axis, are parted
    until they are small enough.
    """
    return _parted(features, np.arange(len(features)), most)


def _parted(features: np.ndarray, rows: np.ndarray, most: int) -> list[np.ndarray]:
    if len(rows) <= most:
        return [rows]
    order = rows[np.argsort(_along_principal_axis(features[rows]), kind="stable")]
    # As few groups as there may be, all of about one size.
    number = -(-len(rows) // most)
    middle = len(rows) * (number // 2) // number
    return _parted(features, order[:middle], most) + _parted(features, order[middle:], most)


def _along_principal_axis(features: np.ndarray) -> np.ndarray:
    """Return where the rows lie along the axis of their greatest variance, by power iteration."""
    mean = features.mean(axis=0)
    # A row far from the mean is a start that is not at right angles to the axis.
    axis = features[np.argmax(((features - mean) ** 2).sum(axis=1))] - mean
    for _ in range(_ROUNDS):
        places = features @ axis - mean @ axis
        axis = places @ features - places.sum() * mean
        axis /= max(float(np.linalg.norm(axis)), np.finfo(np.float32).tiny)
    return features @ axis
