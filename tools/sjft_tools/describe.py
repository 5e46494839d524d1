"""From the images of an LMDB to descriptors: decode, warp, filter, count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.banks.bank import Bank, warp
from sjft_tools.command import progress
from sjft_tools.histogram import Histogrammer

#: Images that go through the filter bank at a time.
BATCH = 32


def batches(lmdb: ImageLmdb, bank: Bank, what: str) -> Iterator[np.ndarray]:
    """Yield all images in key order, at most BATCH at a time, N x crop x crop x 3 uint8 BGR.

    Shows a progress bar named `what`. Raises InputError naming the image that cannot be decoded.
    """
    images = []
    for i, value in enumerate(progress(lmdb.values(), what, lmdb.count)):
        images.append(warp(decode_datum(value, lmdb.name(i))[0], bank))
        if len(images) == BATCH or i + 1 == lmdb.count:
            yield np.stack(images)
            images = []


class Describer:
    """A bank and the bins for its responses: what turns images into descriptors."""

    def __init__(self, bank: Bank, histogrammer: Histogrammer) -> None:
        self._bank = bank
        self._histogrammer = histogrammer

    def stream(self, lmdb: ImageLmdb, what: str) -> Iterator[np.ndarray]:
        """Yield the descriptors of all images in key order, N x dimensions counts, N <= BATCH.

        Shows a progress bar named `what`.
        """
        for images in batches(lmdb, self._bank, what):
            yield self.describe(images)

    def some(self, lmdb: ImageLmdb, indices: Iterable[int]) -> np.ndarray:
        """Return the descriptors of the records `indices`, at most BATCH: N x dimensions counts."""
        return self.describe(np.stack([warp(lmdb.image(i), self._bank) for i in indices]))

    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return the descriptors of N x crop x crop x 3 uint8 BGR images: N x dimensions counts."""
        return self._histogrammer.counts(self._bank.responses(images))
