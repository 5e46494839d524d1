"""Hard samples: which target images get more neighbours in the next round (method, section 6).

Pure functions on arrays. An image's "reach" is what grows: its level, or its K_i itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sjft_tools.evaluation.accuracy import label_ranks

#: The default of delta, as a share of the greatest entropy that so many classes allow.
DELTA_SHARE = 0.1


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """Return H_i = - sum_c p_ic log p_ic in nats, float64 (N,).

    `probabilities`: N x C; 0 log 0 counts as 0.
    """
    p = np.asarray(probabilities, np.float64)
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)


def choose_delta(
    found: np.ndarray, classes: int, delta: float | None, quantile: float | None
) -> float:
    """Return delta in nats: as given, as a quantile of the entropies `found`, or the default.

    `found`: float64 (N,), in nats; `quantile`: from 0 to 1.
    """
    if delta is not None:
        return delta
    if quantile is not None:
        return float(np.quantile(found, quantile))
    return DELTA_SHARE * float(np.log(classes))


class Judgement(NamedTuple):
    """What the net makes of each image: bool (N,) each, exactly one of them true."""

    wrong: np.ndarray
    uncertain: np.ndarray
    certain: np.ndarray


def judge(probabilities: np.ndarray, labels: np.ndarray, delta: float) -> Judgement:
    """Judge images: wrong; right with an entropy of at least `delta` nats: uncertain; certain.

    `probabilities`: N x C; `labels`: int (N,). A tie for the best score counts as wrong.
    """
    wrong = label_ranks(probabilities, labels) > 0
    is_high = entropies(probabilities) >= delta
    return Judgement(wrong, ~wrong & is_high, ~wrong & ~is_high)


def grown(
    reach: np.ndarray, judgement: Judgement, sigma0: int, sigma1: int, most: int
) -> np.ndarray:
    """Return the reach of the next round, int64 (N,).

    `reach`: int (N,). Of a wrong image it grows by `sigma0`, of an uncertain one by `sigma1`, up to
    `most`; what is beyond `most` already stays.
    """
    step = np.where(judgement.wrong, sigma0, np.where(judgement.uncertain, sigma1, 0))
    return np.maximum(np.minimum(reach + step, most), reach).astype(np.int64)


def transitions(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (reach before, reach after, images) for all that occur, ascending.

    `before`, `after`: int (N,).
    """
    pairs, counts = np.unique(np.stack([before, after]), axis=1, return_counts=True)
    return [(int(a), int(b), int(n)) for (a, b), n in zip(pairs.T, counts)]
