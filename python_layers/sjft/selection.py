"""Which source images take part: the selected source set of the method's section 4.

The selected set is the union of the first K_i = k0 * l_i neighbours of all target images i. Source
classes with too few selected images are dropped and the others renumbered.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb

_ROWS_AT_ONCE = 250


class Selection(NamedTuple):
    """The neighbours that each target image may draw from, and the labels of the selected set.

    `neighbours`: int32 (sum of all neighbourhoods,), those of target image i, nearest first, at
    ``offsets[i]:offsets[i + 1]``; `offsets`: int64 (targets + 1,). `labels`: int32 (sources,), the
    new label of each source image from 0, -1 if it is not selected. `classes`: int64 (n,), the old
    label of each new one, ascending. `size`: the number of selected source images.
    """

    neighbours: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    size: int

    def of(self, i: int) -> np.ndarray:
        """Return the source positions that target image `i` may draw from, int32, nearest first."""
        return self.neighbours[self.offsets[i] : self.offsets[i + 1]]


def neighbourhood_sizes(
    levels: np.ndarray, k0: int, k: int, name: Callable[[int], str]
) -> np.ndarray:
    """Return K_i = k0 * l_i for every target image, int64 (targets,).

    `k` is the number of neighbours that were retrieved; `name(i)` names target image i in messages.
    Raises InputError if a K_i is larger than `k`.
    """
    i = int(np.argmax(levels))
    most = k0 * int(levels[i])
    if most > k:
        raise InputError(
            f"k0 = {k0} at level {levels[i]} asks for {most} neighbours of {name(i)}, but only {k} "
            f"were retrieved: lower k0, or run 'sjft retrieve' with --k {most} or more"
        )
    return np.asarray(levels, np.int64) * k0


def check_neighbourhood_sizes(sizes: np.ndarray, k: int, name: Callable[[int], str]) -> None:
    """Raise InputError if one of the K_i, int (targets,), is larger than `k`.

    `k` is the number of neighbours that were retrieved; `name(i)` names target image i in messages.
    """
    i = int(np.argmax(sizes))
    if sizes[i] > k:
        raise InputError(
            f"the levels file asks for {sizes[i]} neighbours of {name(i)}, but only {k} were "
            f"retrieved: run 'sjft retrieve' with --k {sizes[i]} or more"
        )


def read_neighbours(
    neighbours: NeighbourLmdb, target: ImageLmdb, source: ImageLmdb, sizes: np.ndarray
) -> np.ndarray:
    """Return the first sizes[i] neighbours of every target image i, one after another, as int32.

    Raises InputError if the neighbour LMDB names a source image that does not exist.
    """
    ends = np.cumsum(sizes)
    flat = np.empty(int(ends[-1]), np.int32)
    for i, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist())):
        if i % _ROWS_AT_ONCE == 0:
            neighbours.close()  # gives back the memory of the pages that were read so far
            neighbours.read_ahead(i, min(i + _ROWS_AT_ONCE, len(sizes)))
        row = neighbours.indices(i, size)
        strangers = row[(row < 0) | (row >= source.count)]
        if strangers.size:
            raise InputError(
                f"{neighbours.path} names source image {strangers[0]} as a neighbour of "
                f"{target.name(i)}, but {source.path} has only {source.count}: run 'sjft retrieve' "
                f"again"
            )
        flat[end - size : end] = row
    return flat


def select(
    neighbours: np.ndarray,
    sizes: np.ndarray,
    source_labels: np.ndarray,
    min_source_per_class: int,
    name: Callable[[int], str],
) -> Selection:
    """Select the source set, drop small source classes and renumber the others.

    `neighbours`: int32, sizes[0] neighbours of target image 0, sizes[1] of image 1, and so on;
    `source_labels`: int (sources,), from 0. A source class of which fewer than
    `min_source_per_class` images are selected is dropped, and its images leave every neighbourhood;
    the remaining classes are renumbered 0..n-1 in ascending order of their old number.

    Raises InputError if a target image is left without a neighbour; `name(i)` names it.
    """
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    selected = np.zeros(len(source_labels), bool)
    selected[neighbours] = True
    counts = np.bincount(np.asarray(source_labels)[selected])
    # no class has more images than there are: an absurd minimum still fits an int64
    minimum = min(max(1, min_source_per_class), len(source_labels) + 1)
    classes = np.flatnonzero(counts >= minimum)
    new_labels = np.full(len(counts), -1, np.int32)
    new_labels[classes] = np.arange(len(classes), dtype=np.int32)
    labels = np.full(len(source_labels), -1, np.int32)
    labels[selected] = new_labels[np.asarray(source_labels)[selected]]

    if np.count_nonzero(counts) > len(classes):
        is_kept = labels >= 0
        kept = np.empty_like(neighbours)  # takes memory only as far as it is written
        left = np.empty(len(sizes), np.int64)
        end = 0
        for i, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist())):
            row = neighbours[start:stop]
            row = row[is_kept[row]]
            left[i] = len(row)
            kept[end : end + len(row)] = row
            end += len(row)
        if left.min() == 0:
            i = int(left.argmin())
            raise InputError(
                f"{name(i)} has no neighbour left: the source classes of all its {sizes[i]} "
                f"neighbours have fewer than min_source_per_class = {min_source_per_class} "
                f"selected images; lower min_source_per_class or raise k0"
            )
        neighbours = kept[:end]
        offsets = np.concatenate(([0], np.cumsum(left)))
    return Selection(neighbours, offsets, labels, classes, int(np.count_nonzero(labels >= 0)))
