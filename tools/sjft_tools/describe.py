"""From the images of an LMDB to descriptors: decode, warp, filter, count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.banks.bank import Bank, warp
from sjft_tools.command import progress
from sjft_tools.histogram import Histogrammer

_MOST_IMAGES = 32
_MOST_RESPONSES = 1 << 24  # 64 MiB of float32


def batch_size(bank: Bank) -> int:
    """Return how many images go through `bank` at a time: 32, or as many as memory should bear."""
    responses = sum(layer.channels * layer.pixels for layer in bank.layers)
    return max(1, min(_MOST_IMAGES, _MOST_RESPONSES // responses))


def batches(lmdb: ImageLmdb, bank: Bank, what: str) -> Iterator[np.ndarray]:
    """Yield all images in key order, batch by batch: N x crop x crop x 3 uint8 BGR.

    Shows a progress bar named `what`. Raises InputError naming the image that cannot be decoded.
    """
    size = batch_size(bank)
    images = []
    for i, value in enumerate(progress(lmdb.values(), what, lmdb.count)):
        images.append(warp(decode_datum(value, lmdb.name(i))[0], bank))
        if len(images) == size or i + 1 == lmdb.count:
            yield np.stack(images)
            images = []


class Describer:
    """A bank and the bins for its responses: what turns images into descriptors."""

    def __init__(self, bank: Bank, histogrammer: Histogrammer) -> None:
        self._bank = bank
        self._histogrammer = histogrammer

    def stream(self, lmdb: ImageLmdb, what: str) -> Iterator[np.ndarray]:
        """Yield the descriptors of all images in key order, batch by batch: N x dimensions counts.

        Shows a progress bar named `what`.
        """
        for images in batches(lmdb, self._bank, what):
            yield self.describe(images)

    def some(self, lmdb: ImageLmdb, indices: Iterable[int]) -> np.ndarray:
        """Return the descriptors of the records `indices`, one batch: N x dimensions counts."""
        return self.describe(np.stack([warp(lmdb.image(i), self._bank) for i in indices]))

    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return the descriptors of N x crop x crop x 3 uint8 BGR images: N x dimensions counts."""
        return self._histogrammer.counts(self._bank.responses(images))
