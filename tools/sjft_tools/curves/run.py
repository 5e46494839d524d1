"""A run's values: by phase and quantity, iteration by iteration, the parts of a resumed run joined.

Caffe goes on counting iterations after a resume. Where a value's iteration lies before one that was
read already, the run was resumed there: what was read from that iteration on is dropped, since the
resumed part replaces it.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

TRAIN, TEST = "train", "test"
_INDEXED = re.compile(r"(.+)\[\d+\]$")


class Key(NamedTuple):
    """What a series is: `phase` TRAIN or TEST, `net` the number of the test net, `quantity`."""

    phase: str
    net: int
    quantity: str


class Series(NamedTuple):
    """`iterations`: int64 (n,), ascending; `values`: float64 (n,), finite."""

    iterations: np.ndarray
    values: np.ndarray


class Run:
    """Collects values in the order in which Caffe displayed them.

    `name`: how the picture calls the run; `not_finite`: by series, the first iteration of a value
    that is not finite, which the series leave out.
    """

    def __init__(self, name: str) -> None:
        """Begin with no values."""
        self.name = name
        self._values: dict[Key, dict[int, float]] = {}
        self._newest = -1

    def add(self, key: Key, iteration: int, value: float) -> None:
        """Take in the value of a series at an iteration."""
        if iteration < self._newest:
            for values in self._values.values():
                for late in [i for i in values if i >= iteration]:
                    del values[late]
        self._newest = iteration
        self._values.setdefault(key, {})[iteration] = value

    @property
    def not_finite(self) -> dict[Key, int]:
        """By series, the first iteration of a value that is not finite."""
        found = {}
        for key, values in self._values.items():
            bad = [i for i, value in values.items() if not math.isfinite(value)]
            if bad:
                found[key] = min(bad)
        return found

    def series(self) -> dict[Key, Series]:
        """Return all series with finite values, in the order in which they first occurred."""
        found = {}
        for key, values in self._values.items():
            pairs = sorted((i, value) for i, value in values.items() if math.isfinite(value))
            if pairs:
                iterations, numbers = zip(*pairs)
                found[key] = Series(np.array(iterations, np.int64), np.array(numbers, np.float64))
        return found


def is_vector(quantity: str) -> bool:
    """Whether the quantity is one number of an output that has several."""
    return _INDEXED.match(quantity) is not None


def is_accuracy(quantity: str, values: np.ndarray) -> bool:
    """Whether the quantity is an accuracy, by its name, as a share from 0 to 1."""
    named = re.search(r"acc(uracy)?([^a-z]|$)|(^|[^a-z])top[-_]?[15]([^0-9]|$)", quantity.lower())
    return named is not None and bool((values >= 0).all() and (values <= 1).all())
