"""Scores of all images of an LMDB, image by image the mean over its views."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from tqdm import tqdm

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import progress
from sjft_tools.evaluation.protocol import DENSE, ONE, TEN, Protocol
from sjft_tools.evaluation.trained_net import TrainedNet
from sjft_tools.work_folder import Kept

#: Images that are scored, and kept in case the run is killed, together.
CHUNK = {ONE: 500, TEN: 50, DENSE: 16}


def score_images(
    net: TrainedNet,
    images: ImageLmdb,
    protocol: Protocol,
    batch_size: int,
    kept: Kept | None,
) -> np.ndarray:
    """Return the mean softmax over the views of every image in key order, float32 N x C.

    `batch_size`: views per forward pass; `kept`: where a run that can go on has its finished
    chunks, as ``000017.npy``; None for one that starts over when it is killed. Raises InputError
    naming the image if one cannot be decoded or viewed, or has a score that is not a number.
    """
    scores = np.empty((images.count, net.classes), np.float32)
    step = CHUNK[protocol.crops]
    with progress((), "evaluate", images.count) as bar:
        for chunk, start in enumerate(range(0, images.count, step)):
            rows = scores[start : start + step]
            name = f"{chunk:06}.npy"
            found = None if kept is None else kept.load_array(name)
            if found is None:
                rows[...] = _score_chunk(net, images, start, len(rows), protocol, batch_size, bar)
                if kept is not None:
                    kept.save_array(name, rows)
            else:
                rows[...] = found
                bar.initial += len(rows)  # the rate is that of this run
                bar.update(len(rows))
    return scores


def _score_chunk(
    net: TrainedNet,
    images: ImageLmdb,
    start: int,
    count: int,
    protocol: Protocol,
    batch_size: int,
    bar: tqdm[None],
) -> np.ndarray:
    """Return the scores of images start..start+count-1, float64 count x C."""
    sums = np.zeros((count, net.classes))
    waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)
    views = 0

    def forward(batch: list[tuple[int, np.ndarray]]) -> None:
        nonlocal views
        scores = net.probabilities(np.stack([view for _, view in batch]))
        for (i, _), row in zip(batch, scores):
            sums[i] += row
        images_before = views // protocol.view_count
        views += len(batch)
        bar.update(views // protocol.view_count - images_before)
        batch.clear()

    for i, value in enumerate(images.values(start, start + count)):
        for view in protocol.views(value, images.name(start + i)):
            batch = waiting[view.shape]  # only views of one size fit in a batch
            batch.append((i, view))
            if len(batch) == batch_size:
                forward(batch)
    for batch in waiting.values():
        if batch:
            forward(batch)
    bad = ~np.isfinite(sums).all(axis=1)
    if bad.any():
        raise InputError(
            f"the scores '{net.output}' of {images.name(start + int(bad.argmax()))} and "
            f"{int(bad.sum()) - 1} others are not finite: the weights are spoilt, as by training "
            f"that diverged"
        )
    return sums / protocol.view_count
