"""The second measure: source images whose descriptor is conspicuously near a test image's."""

from __future__ import annotations

from typing import NamedTuple

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb

#: With the distance of this neighbour a test image's nearest ones are compared.
REFERENCE = 20


class NearDescriptor(NamedTuple):
    """A pair by positions, its descriptors' distance, and that over the REFERENCE-th's."""

    test: int
    source: int
    distance: float
    ratio: float


def near_descriptors(
    neighbours: NeighbourLmdb, tests: ImageLmdb, source: ImageLmdb, ratio: float
) -> list[NearDescriptor]:
    """Return the neighbours nearer than `ratio` times the 20th neighbour of their test image.

    `neighbours`: what 'sjft retrieve' found for the images of `tests` in `source`. Raises
    InputError if it was computed for others, or holds fewer than 20 neighbours.
    """
    neighbours.check_matches(tests, source)
    if neighbours.k < REFERENCE:
        raise InputError(
            f"{neighbours.path} holds {neighbours.k} neighbours per image: expected at least "
            f"{REFERENCE} (run 'sjft retrieve' with --k {REFERENCE} or more)"
        )
    found = []
    for i in range(tests.count):
        distances = neighbours.distances(i, REFERENCE)
        limit = ratio * float(distances[-1])
        for position, distance in zip(neighbours.indices(i, REFERENCE).tolist(), distances):
            if distance < limit:
                share = float(distance) / float(distances[-1])
                found.append(NearDescriptor(i, position, float(distance), share))
    return found
