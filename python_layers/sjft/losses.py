"""The multi-task softmax loss: a weighted sum of softmax losses over (scores, labels) pairs.

Each task's loss is that of Caffe's SoftmaxWithLoss with its default VALID normalisation: the mean
of -log p[label] over the images whose label is not the ignored one (0 if there are none). The
method weighs the target's and the source's loss by 0.5 each.
"""

from __future__ import annotations

import numpy as np

from sjft.errors import InputError

#: SoftmaxWithLoss takes the logarithm of no smaller probability than float32's smallest normal one.
_SMALLEST = float(np.finfo(np.float32).tiny)


def as_scores(scores: np.ndarray, name: str) -> np.ndarray:
    """Return `scores`, N x C or N x C x 1 x 1, as float64 N x C.

    Raises InputError naming the blob `name` if the shape is another.
    """
    if scores.ndim < 2 or scores.size != scores.shape[0] * scores.shape[1]:
        raise InputError(
            f"{name} must be N x C or N x C x 1 x 1, got {' x '.join(map(str, scores.shape))}"
        )
    return scores.reshape(scores.shape[0], scores.shape[1]).astype(np.float64)


def as_labels(
    labels: np.ndarray, shape: tuple[int, ...], ignore_label: int | None, name: str
) -> np.ndarray:
    """Return `labels`, N floats, as int64 (N,); `shape` is N x C, that of the scores.

    Each must be an integer in 0..C-1 or the `ignore_label`. Raises InputError naming the blob
    `name` otherwise.
    """
    count, classes = shape
    if labels.size != count:
        raise InputError(
            f"{name} must hold {count} labels, one per row of scores, got {labels.size}"
        )
    flat = labels.reshape(count)
    # compared as floats: casting NaN or infinity to an integer is undefined
    valid = (flat >= 0) & (flat < classes) & (flat == np.floor(flat))
    if ignore_label is not None:
        valid |= flat == ignore_label
    if not valid.all():
        ignored = "" if ignore_label is None else f" or the ignore_label {ignore_label}"
        raise InputError(
            f"{name} holds the label {flat[~valid][0]:g}, expected an integer from 0 to "
            f"{classes - 1}, as the scores have {classes} classes{ignored}"
        )
    return flat.astype(np.int64)


def softmax_loss(
    scores: np.ndarray, labels: np.ndarray, ignore_label: int | None = None
) -> tuple[float, np.ndarray]:
    """Return the softmax loss and its gradient with respect to the scores.

    `scores`: float64 N x C; `labels`: int64 (N,), each in 0..C-1 or the `ignore_label`. The
    gradient is float64 N x C, with zero rows where the label is ignored.
    """
    used = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    rows, columns = np.flatnonzero(used), labels[used]
    gradient = np.exp(scores - scores.max(axis=1, keepdims=True))
    gradient /= gradient.sum(axis=1, keepdims=True)
    probabilities = gradient[rows, columns]
    normaliser = max(1, len(rows))
    loss = -np.log(np.maximum(probabilities, _SMALLEST)).sum() / normaliser
    gradient[rows, columns] -= 1
    gradient[~used] = 0
    return float(loss), gradient / normaliser


def task_weights(weights: list[float] | None, tasks: int) -> list[float]:
    """Return the weight of each of `tasks` tasks; equal shares of 1 if `weights` is None.

    Raises InputError unless there is one weight per task.
    """
    if weights is None:
        return [1.0 / tasks] * tasks
    if len(weights) != tasks:
        raise InputError(
            f"'weights' has {len(weights)} numbers, expected {tasks}, one for each pair of bottoms "
            f"(scores, labels)"
        )
    return weights
