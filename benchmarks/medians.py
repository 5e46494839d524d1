"""Medians with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_RESAMPLES = 10_000


class Median(NamedTuple):
    """A median, and the ends of its 95 % confidence interval."""

    median: float
    low: float
    high: float

    def text(self, form: str = ".2f") -> str:
        """Return ``1.23 (1.20 to 1.26)``."""
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def median_of(values: Sequence[float]) -> Median:
    """Return the median of `values` and its bootstrap confidence interval."""
    array = np.asarray(values, np.float64)
    draws = np.random.default_rng(1).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(np.median(array[draws], axis=1), [2.5, 97.5])
    return Median(float(np.median(array)), float(low), float(high))
