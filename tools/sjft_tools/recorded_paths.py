"""Where the image LMDBs are that a neighbour LMDB was computed for."""

from __future__ import annotations

import os

from sjft.errors import InputError
from sjft.neighbour_lmdb import NeighbourLmdb


def recorded_path(neighbours: NeighbourLmdb, role: str, given: str | None) -> str:
    """Return the path of the LMDB of `role`, "target" or "source": as given, or as recorded.

    Raises InputError if none was `given` and it is not where 'sjft retrieve' read it.
    """
    if given is not None:
        return given
    recorded = str(neighbours.info.get(f"{role}_path", ""))
    if not os.path.isdir(recorded):
        raise InputError(
            f"the {role} LMDB is not at '{recorded}', where {neighbours.path} says it was (seen "
            f"from the folder in which 'sjft retrieve' ran): name it by --{role}"
        )
    return recorded
