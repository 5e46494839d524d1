"""What is taken for what: the confusion matrix, and the images that are mistaken most surely."""

from __future__ import annotations

import numpy as np

from sjft_tools.evaluation.accuracy import label_ranks


def predictions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the class that every image is taken for, int64 (N,).

    `scores`: N x C; `labels`: int (N,). Of several best scores the first one's class, but never the
    label's own, since a tie counts against the net.
    """
    rows = np.arange(len(labels))
    others = np.array(scores, copy=True)
    others[rows, labels] = -np.inf
    best_other = others.argmax(axis=1)
    return np.where(label_ranks(scores, labels) == 0, labels, best_other).astype(np.int64)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images of class i are taken for class j, int64 C x C."""
    pairs = np.asarray(labels, np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def most_confident_mistakes(
    scores: np.ndarray, predicted: np.ndarray, labels: np.ndarray, most: int
) -> np.ndarray:
    """Return the mistaken images, the best score of a wrong class first, int64 (at most `most`,).

    `scores`: N x C; `predicted`, `labels`: int (N,). Of equal scores the lower position first.
    """
    wrong = np.flatnonzero(predicted != labels)
    sureness = scores[wrong, predicted[wrong]]
    return wrong[np.argsort(-sureness, kind="stable")[:most]]
