"""Reading an LMDB's images for comparison, in blocks, some threads decoding ahead."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Callable, NamedTuple

import numpy as np

from sjft.cores import cores
from sjft.errors import BadImageError, InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import progress
from sjft_tools.leaks.specimens import Specimen, make_specimen
from sjft_tools.overlap import in_order

BLOCK = 256  # images that are handed on at a time; no result depends on it
_TASK = 32  # images that a thread decodes at a time
_HOPELESS = 100  # not one of so many decoded: it is not the images

#: Takes in a position and the sentence that says why that image cannot be compared.
OnBad = Callable[[int, str], None]


class Shown(NamedTuple):
    """An image, ready to be compared: its position, Datum bytes, specimen and thumbnails."""

    position: int
    value: bytes
    specimen: Specimen
    thumbnails: np.ndarray


class _Bad(NamedTuple):
    position: int
    sentence: str


def read_blocks(
    lmdb: ImageLmdb,
    what: str,
    thumbnails: Callable[[np.ndarray], np.ndarray],
    on_bad: OnBad,
    start: int = 0,
) -> Iterator[list[Shown]]:
    """Yield the images from position `start` on in key order, with `thumbnails` of their specimens.

    A list for each BLOCK of records, without those that cannot be decoded: these go to `on_bad`
    before. Shows a progress bar named `what`. Raises InputError if not one of the LMDB's first 100
    can be decoded.
    """
    good, bad = start, 0  # whoever goes on at `start` has seen good ones before it
    for block in _blocks(lmdb, what, thumbnails, start):
        shown = []
        for image in block:
            if isinstance(image, Shown):
                shown.append(image)
            else:
                bad += 1
                on_bad(image.position, image.sentence)
        good += len(shown)
        if not good and bad >= min(_HOPELESS, lmdb.count):
            raise InputError(f"none of the first {bad} images of {lmdb.path} can be decoded")
        yield shown


_Read = list["Shown | _Bad"]


def _blocks(
    lmdb: ImageLmdb, what: str, thumbnails: Callable[[np.ndarray], np.ndarray], start: int
) -> Iterator[_Read]:
    def prepare(records: list[tuple[int, bytes]]) -> _Read:
        done: _Read = []
        for i, value in records:
            try:
                specimen = make_specimen(value, lmdb.name(i))
                done.append(Shown(i, value, specimen, thumbnails(specimen.grey)))
            except BadImageError as error:
                done.append(_Bad(i, str(error)))
        return done

    records = enumerate(progress(lmdb.values(start), what, lmdb.count, initial=start), start)
    tasks = iter(lambda: list(islice(records, _TASK)), [])
    per_block = BLOCK // _TASK
    threads = min(cores(), 2 * per_block)
    done = in_order(prepare, tasks, threads, 2 * per_block - threads)
    while block := [image for task in islice(done, per_block) for image in task]:
        yield block
