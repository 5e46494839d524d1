"""Running a bank on batches of one size only."""

from __future__ import annotations

from typing import Callable

import numpy as np


def in_fixed_batches(
    images: np.ndarray, size: int, filtered: Callable[[np.ndarray], list[np.ndarray]]
) -> list[np.ndarray]:
    """Return what `filtered` makes of `images`, N x ..., `size` of them at a time.

    The last batch is filled up with zeros. A library may choose its algorithm, and with it the
    rounding, by the size of a batch; so an image's responses do not depend on those beside it.
    """
    parts = []
    for start in range(0, len(images), size):
        some = images[start : start + size]
        count = len(some)
        if count < size:
            some = np.concatenate([some, np.zeros((size - count, *some.shape[1:]), some.dtype)])
        parts.append([layer[:count] for layer in filtered(some)])
    return parts[0] if len(parts) == 1 else [np.concatenate(layer) for layer in zip(*parts)]
