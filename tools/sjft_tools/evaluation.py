"""Scores of all images of an LMDB, each shown to the net in one fixed view."""

from __future__ import annotations

from typing import Callable

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import progress
from sjft_tools.trained_net import TrainedNet

#: From an image's Datum record and its name to the net's input (3 x crop x crop float32).
View = Callable[[bytes, str], np.ndarray]


def score_images(net: TrainedNet, images: ImageLmdb, view: View, batch_size: int) -> np.ndarray:
    """Return the net's scores of every image in key order, float32 N x C.

    Raises InputError naming the image if one cannot be decoded or viewed, or has a score that is
    not a number.
    """
    scores = np.empty((images.count, net.classes), np.float32)
    batch: list[np.ndarray] = []
    values = progress(images.values(), "evaluate", images.count)
    for i, value in enumerate(values):
        batch.append(view(value, images.name(i)))
        if len(batch) == batch_size or i == images.count - 1:
            scores[i + 1 - len(batch) : i + 1] = net.scores(np.stack(batch))
            batch.clear()
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise InputError(
            f"the scores '{net.output}' of {images.name(int(bad.argmax()))} and "
            f"{int(bad.sum()) - 1} others are not finite: the weights are spoilt, as by training "
            f"that diverged"
        )
    return scores
