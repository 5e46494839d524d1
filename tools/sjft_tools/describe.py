"""From the images of an LMDB to descriptors: read, decode, warp, filter, count.

A batch of images passes through all of these in one thread, and as many batches as there are cores
are on their way at once. So no stage waits for another, and a core keeps a batch in its cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, TypeVar, cast

import numpy as np

from sjft.errors import BadImageError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.banks.bank import Bank, TorchBank, warp
from sjft_tools.banks.fixed_batches import in_fixed_batches
from sjft_tools.command import progress
from sjft_tools.histogram import Histogrammer
from sjft_tools.histogram_torch import TorchHistogrammer
from sjft_tools.overlap import cores, in_order

#: Takes in the record position of an image that cannot be decoded, and the sentence that says so.
OnBad = Callable[[int, str], Any]
#: Takes in the number of images that have been done since it was called last.
Advance = Callable[[int], Any]

Made = TypeVar("Made")

_AHEAD = 2  # batches that are done before they are wanted


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
    uint8 BGR; `bad`: the position of each image that cannot be decoded, and what to say of it.
    """

    positions: np.ndarray
    images: np.ndarray
    bad: list[tuple[int, BadImageError]]


def warped(lmdb: ImageLmdb, bank: Bank, positions: np.ndarray) -> Warped:
    """Read, decode and warp the images at the record `positions`: int64 (n,)."""
    kept, images, bad = [], [], []
    for position in positions.tolist():
        try:
            pixels, _ = decode_datum(lmdb.value(position), lmdb.name(position))
        except BadImageError as error:
            bad.append((position, error))
            continue
        kept.append(position)
        images.append(warp(pixels, bank))
    shape = (len(images), bank.crop, bank.crop, 3)
    return Warped(np.array(kept, np.int64), np.array(images, np.uint8).reshape(shape), bad)


def batches(
    lmdb: ImageLmdb,
    bank: Bank,
    positions: Sequence[int] | np.ndarray | None,
    make: Callable[[np.ndarray], Made],
    what: str,
    on_bad: OnBad | None = None,
    bar: Advance | None = None,
) -> Iterator[tuple[np.ndarray, Made]]:
    """Yield what `make` makes of the images at the record `positions` (ascending; None: all).

    Batch by batch, in order: the positions, int64 (n,), and make(n x crop x crop x 3 uint8 BGR).
    `make` is called by several threads at once. Shows a progress bar named `what`, or calls `bar`
    instead. An image that cannot be decoded is left out and `on_bad` is told; without `on_bad`
    BadImageError is raised. Memory: batches in number as cores and two.
    """
    if bar is None:
        wanted = range(lmdb.count) if positions is None else positions
        with progress((), what, len(wanted)) as own:
            yield from batches(lmdb, bank, wanted, make, what, on_bad, own.update)
        return
    places = np.arange(lmdb.count) if positions is None else np.asarray(positions, np.int64)
    if not len(places):
        return
    lmdb.value(int(places[0]))  # opens the LMDB, which threads must not do at the same time

    def work(start: int) -> tuple[Warped, Made | None]:
        some = warped(lmdb, bank, places[start : start + bank.batch])
        return some, make(some.images) if len(some.images) else None

    for some, made in in_order(work, range(0, len(places), bank.batch), cores(), _AHEAD):
        for position, error in some.bad:
            if on_bad is None:
                raise error
            on_bad(position, str(error))
        if len(some.positions):
            yield some.positions, cast(Made, made)
        bar(len(some.positions) + len(some.bad))


class Describer:
    """A bank and the bins for its responses: what turns images into descriptors.

    Where torch filters on a GPU, it counts there too: responses take longer to copy than to find.
    A descriptor depends on its image alone, not on those that are described with it, nor on the
    number of threads.
    """

    def __init__(self, bank: Bank, histogrammer: Histogrammer) -> None:
        self._bank = bank
        self._histogrammer = histogrammer
        self._on_gpu: TorchHistogrammer | None = None
        if bank.backend == "cuda":
            self._on_gpu = TorchHistogrammer(histogrammer.inner, bank.backend)

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
        `on_bad` is told; without `on_bad` BadImageError is raised, naming it. Both are called by
        the thread that takes what is yielded. Memory is bounded: see batches().
        """
        for found in batches(lmdb, self._bank, positions, self.describe, what, on_bad, bar):
            yield Described(*found)

    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return the descriptors of N x crop x crop x 3 uint8 BGR images: N x dimensions counts."""
        if self._on_gpu is None:
            return self._histogrammer.counts(self._bank.responses(images))
        counted = in_fixed_batches(images, self._bank.batch, self._count_on_gpu)
        return counted[0]

    def _count_on_gpu(self, images: np.ndarray) -> list[np.ndarray]:
        """Describe exactly a batch of images; their responses stay on the GPU."""
        responses = cast(TorchBank, self._bank).device_responses(images)
        return [cast(TorchHistogrammer, self._on_gpu).counts(responses)]
