"""How sure accuracies are: the percentile bootstrap over images (Efron 1979)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sjft.randomness import scale_to_integers, uniform
from sjft_tools.evaluation.accuracy import label_ranks

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 1


class Intervals(NamedTuple):
    """Lower and upper ends of the intervals of the three accuracies, shares from 0 to 1."""

    top1: tuple[float, float]
    top5: tuple[float, float]
    mean_class: tuple[float, float]


def intervals(scores: np.ndarray, labels: np.ndarray) -> Intervals:
    """Return the 95 % intervals of the accuracies of `scores`, N x C, for `labels`, int (N,).

    N images are drawn with replacement, 1,000 times; the interval reaches from the 2.5 % to the
    97.5 % quantile of the accuracies of these draws. A class that a draw lacks does not count in
    its mean over classes. It tells what another sample of test images would change, not another
    run of training.
    """
    n, classes = scores.shape
    ranks = label_ranks(scores, labels)
    outcome = np.where(ranks < 1, 0, np.where(ranks < 5, 1, 2))
    cell = 3 * np.asarray(labels, np.int64) + outcome
    found = np.empty((RESAMPLES, 3))
    for b in range(RESAMPLES):
        drawn = scale_to_integers(uniform(SEED, "bootstrap", b, size=n), n)
        counts = np.bincount(cell[drawn], minlength=3 * classes).reshape(classes, 3)
        images = counts.sum(axis=1)
        seen = images > 0
        right = counts[:, 0].sum()
        found[b] = (
            right / n,
            (right + counts[:, 1].sum()) / n,
            (counts[seen, 0] / images[seen]).mean(),
        )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail], axis=0).tolist()
    return Intervals(*zip(low, high))
