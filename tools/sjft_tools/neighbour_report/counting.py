"""One pass over a neighbour LMDB: who is selected at which K_0, how often, how far away."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.command import progress

_ROWS_AT_ONCE = 250
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Counts(NamedTuple):
    """What the pass found, over N source images and T target images of level l_i each.

    `first_k0`: int32 (N,), the least K_0 at which a source image is selected, that is, is among the
    first K_0 * l_i neighbours of some target image i; a number above `most_k0` if it never is.
    `most_k0`: the greatest K_0 for which enough neighbours were retrieved. `uses`: for each K_0
    asked for int32 (N,), of how many target images a source image is then a neighbour in use;
    `sizes`: for each int64 (T,), the neighbours K_i then in use. A key None stands for the K_i that
    a levels file states.
    `ranks`: int64 (R,), from 1; `distances`: float32 len(QUANTILES) x R, quantiles over the target
    images of the distance to the neighbour of each of `ranks`.
    """

    first_k0: np.ndarray
    most_k0: int
    uses: dict[int | None, np.ndarray]
    sizes: dict[int | None, np.ndarray]
    ranks: np.ndarray
    distances: np.ndarray

    def selected(self) -> np.ndarray:
        """Return how many source images are selected at every K_0 from 0, int64 (most_k0 + 1,)."""
        inside = self.first_k0[self.first_k0 <= self.most_k0]
        return np.cumsum(np.bincount(inside, minlength=self.most_k0 + 1))


def count(
    neighbours: NeighbourLmdb,
    sources: int,
    levels: np.ndarray,
    sizes: dict[int | None, np.ndarray],
) -> Counts:
    """Count over all target images, with a progress bar.

    `sources`: how many source images there are; `levels`: int (T,), each at most K, see
    sjft.levels; `sizes`: as in Counts, no K_i above K. Memory: 4 bytes for each of sources x
    (len(sizes) + 1), and little else. Raises InputError if a neighbour is not one of the source
    images.
    """
    k = neighbours.k
    most_k0 = k // int(levels.max())
    ranks = np.unique(np.rint(np.geomspace(1, k, 40)).astype(np.int64))
    first_k0 = np.full(sources, np.iinfo(np.int32).max, np.int32)
    uses = {k0: np.zeros(sources, np.int32) for k0 in sizes}
    at_ranks = np.empty((neighbours.count, len(ranks)), np.float32)
    places = np.arange(k, dtype=np.int32)
    for i in progress(range(neighbours.count), "neighbours", unit="image"):
        if i % _ROWS_AT_ONCE == 0:
            neighbours.close()  # gives back the memory of the pages that were read so far
            neighbours.read_ahead(i, min(i + _ROWS_AT_ONCE, neighbours.count))
        row = neighbours.indices(i)
        if row.min() < 0 or row.max() >= sources:
            stranger = row[(row < 0) | (row >= sources)][0]
            raise InputError(
                f"{neighbours.name(i)} names the source image {stranger}, but there are only "
                f"{sources}: run 'sjft retrieve' again"
            )
        level = int(levels[i])
        first_k0[row] = np.minimum(first_k0[row], places // level + 1)
        for k0, used in uses.items():
            used[row[: sizes[k0][i]]] += 1
        at_ranks[i] = neighbours.distances(i)[ranks - 1]
    distances = np.quantile(at_ranks, QUANTILES, axis=0).astype(np.float32)
    return Counts(first_k0, most_k0, uses, sizes, ranks, distances)


def least_k0(selected: np.ndarray, want: int) -> int | None:
    """Return the least K_0 that selects at least `want` images, or None.

    `selected`: int64 (most_k0 + 1,), see Counts.selected.
    """
    k0 = int(np.searchsorted(selected, want))
    return k0 if k0 < len(selected) else None


def random_union(neighbourhoods: np.ndarray, sources: int) -> float:
    """Return how many distinct images neighbourhoods of these sizes would hold if drawn at random.

    `neighbourhoods`: int (T,), each at most `sources`.
    """
    with np.errstate(divide="ignore"):  # all sources are in a neighbourhood of that size
        missed = np.log1p(-neighbourhoods / sources).sum()
    return float(-sources * np.expm1(missed))
