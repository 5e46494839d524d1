"""Accuracies from scores: pure functions on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Accuracy(NamedTuple):
    """Shares from 0 to 1.

    `top1`, `top5`: of the images whose label is among the 1 (5) best scores. `mean_class`: the mean
    of `per_class`. `per_class`: float64 (C,), the top-1 share of each class's images, NaN for a
    class without images, which the mean leaves out. `images`: int64 (C,), the images of each class.
    """

    top1: float
    top5: float
    mean_class: float
    per_class: np.ndarray
    images: np.ndarray


def label_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many other classes score at least as much as each image's label, int64 (N,).

    `scores`: N x C, finite; `labels`: int (N,), from 0. A tie counts against the net, as in Caffe's
    Accuracy layer: a net that gives all classes one score has learnt nothing.
    """
    own = scores[np.arange(len(labels)), labels]
    return (scores >= own[:, None]).sum(axis=1) - 1


def accuracy(scores: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Return the accuracies of `scores`, N x C, finite, for `labels`, int (N,), 0..C-1."""
    ranks = label_ranks(scores, labels)
    images = np.bincount(labels, minlength=scores.shape[1])
    right = np.bincount(labels[ranks == 0], minlength=scores.shape[1])
    per_class = np.full(scores.shape[1], np.nan)
    seen = images > 0
    per_class[seen] = right[seen] / images[seen]
    return Accuracy(
        top1=float((ranks < 1).mean()),
        top5=float((ranks < 5).mean()),
        mean_class=float(per_class[seen].mean()),
        per_class=per_class,
        images=images,
    )
