"""From the images of an LMDB to descriptors: read, decode, warp, filter, count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from sjft.errors import BadImageError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.banks.bank import Bank, warp
from sjft_tools.command import progress
from sjft_tools.histogram import Histogrammer

#: Takes in the record position of an image that cannot be decoded, and the sentence that says so.
OnBad = Callable[[int, str], Any]
#: Takes in the number of images that have been done since it was called last.
Advance = Callable[[int], Any]

_MOST_IMAGES = 32
_MOST_RESPONSES = 1 << 24  # 64 MiB of float32


class Described(NamedTuple):
    """Descriptors of some images of an LMDB.

    `positions`: int64 (n,), the record position of each, ascending. `counts`: n x dimensions
    uint16, or uint32 if the bank's maps have more than 65,535 pixels.
    """

    positions: np.ndarray
    counts: np.ndarray


class Warped(NamedTuple):
    """Images of an LMDB as a bank wants them.

    `positions`: int64 (n,), the record position of each, ascending; `images`: n x crop x crop x 3
    uint8 BGR.
    """

    positions: np.ndarray
    images: np.ndarray


def batch_size(bank: Bank) -> int:
    """Return how many images go through `bank` at a time: 32, or as many as memory should bear."""
    responses = sum(layer.channels * layer.pixels for layer in bank.layers)
    return max(1, min(_MOST_IMAGES, _MOST_RESPONSES // responses))


def batches(
    lmdb: ImageLmdb,
    bank: Bank,
    positions: Sequence[int] | np.ndarray | None,
    what: str,
    on_bad: OnBad | None = None,
    bar: Advance | None = None,
) -> Iterator[Warped]:
    """Yield the images at the record `positions` (ascending; None: all), batch by batch.

    Shows a progress bar named `what`, or calls `bar` instead. An image that cannot be decoded is
    left out and `on_bad` is told; without `on_bad` BadImageError is raised.
    """
    size = batch_size(bank)
    wanted = range(lmdb.count) if positions is None else positions
    if bar is None:
        with progress((), what, len(wanted)) as own:
            yield from batches(lmdb, bank, wanted, what, on_bad, own.update)
        return
    for start in range(0, len(wanted), size):
        some = [int(position) for position in wanted[start : start + size]]
        kept, images = [], []
        for position in some:
            try:
                images.append(
                    warp(decode_datum(lmdb.value(position), lmdb.name(position))[0], bank)
                )
                kept.append(position)
            except BadImageError as error:
                if on_bad is None:
                    raise
                on_bad(position, str(error))
        if kept:
            yield Warped(np.array(kept, np.int64), np.stack(images))
        bar(len(some))


class Describer:
    """A bank and the bins for its responses: what turns images into descriptors.

    A descriptor depends on its image alone, not on those that are described with it.
    """

    def __init__(self, bank: Bank, histogrammer: Histogrammer) -> None:
        self._bank = bank
        self._histogrammer = histogrammer

    def stream(
        self,
        lmdb: ImageLmdb,
        positions: Sequence[int] | np.ndarray | None,
        what: str,
        on_bad: OnBad | None = None,
        bar: Advance | None = None,
    ) -> Iterator[Described]:
        """Yield the descriptors of the images at the record `positions`, in their order.

        `positions`: ascending, an int64 array or a range; None: all. `what` names a progress bar;
        with `bar` there is none, and `bar` is called with the number of images done since its last
        call, bad ones included. An image that cannot be decoded is missing from what is yielded and
        `on_bad` is told; without `on_bad` BadImageError is raised, naming it. Memory is bounded.
        """
        for warped in batches(lmdb, self._bank, positions, what, on_bad, bar):
            yield Described(warped.positions, self.describe(warped.images))

    def some(self, lmdb: ImageLmdb, indices: Iterable[int]) -> np.ndarray:
        """Return the descriptors of the records `indices`, one batch: N x dimensions counts."""
        return self.describe(np.stack([warp(lmdb.image(i), self._bank) for i in indices]))

    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return the descriptors of N x crop x crop x 3 uint8 BGR images: N x dimensions counts."""
        return self._histogrammer.counts(self._bank.responses(images))
