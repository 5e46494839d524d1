"""The levels file: how often each target image is visited, and how far its neighbourhood reaches.

A target image of level l uses its first k0 * l neighbours and is visited l times per epoch (method:
levels 1 to 10, all 1 at the start). The file is JSON, bound to one target LMDB by its fingerprint::

    {"format": "sjft levels 1", "target_fingerprint": "sha256:...", "levels": [1, 1, 3, ...]}

A file of format ``sjft levels 2`` has "neighbours" as well, a list of the K_i themselves, which
stand in the place of k0 * l_i; the levels then say only how often an image is visited.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sjft.errors import InputError, why_unread
from sjft.image_lmdb import ImageLmdb

LEVELS = "sjft levels 1"
LEVELS_AND_NEIGHBOURS = "sjft levels 2"
MIN_LEVEL = 1
MAX_LEVEL = 10


class Levels(NamedTuple):
    """`levels`: int64 (count,), each from 1 to 10, how often an image is visited per epoch.

    `neighbours`: int64 (count,), each at least 1, the number of neighbours that an image uses; None
    for k0 * level.
    """

    levels: np.ndarray
    neighbours: np.ndarray | None


def read_levels(path: str | None, target: ImageLmdb) -> Levels:
    """Return the level of every image of `target`, and its number of neighbours if it is stated.

    `path` None means level 1 for all. Raises InputError if the file is missing, is not a levels
    file, belongs to another target LMDB, or holds anything but one number per image.
    """
    if path is None:
        return Levels(np.full(target.count, MIN_LEVEL, np.int64), None)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the levels file {path} cannot be read: {why_unread(error)}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found not in (LEVELS, LEVELS_AND_NEIGHBOURS):
        raise InputError(f"{path} is not a levels file: format {found!r}, expected {LEVELS!r}")
    if content.get("target_fingerprint") != target.fingerprint:
        raise InputError(
            f"the levels file {path} was written for another target LMDB than {target.path}: "
            f"the fingerprints differ"
        )
    name = f"the levels file {path}"
    levels = _checked(content.get("levels"), target, name, "level", MAX_LEVEL)
    if found == LEVELS:
        return Levels(levels, None)
    return Levels(levels, _checked(content.get("neighbours"), target, name, "neighbour count"))


def levels_text(levels: np.ndarray, target: ImageLmdb, neighbours: np.ndarray | None = None) -> str:
    """Return the content of a levels file for `target`.

    `levels`: int (count,); `neighbours`: int (count,), or None for k0 * level. Raises InputError
    unless there is a level from 1 to 10 (and a number of neighbours from 1 on) for every image.
    """
    name = "the levels file to be written"
    checked = _checked(np.asarray(levels).tolist(), target, name, "level", MAX_LEVEL)
    content = {
        "format": LEVELS if neighbours is None else LEVELS_AND_NEIGHBOURS,
        "target_fingerprint": target.fingerprint,
        "levels": checked.tolist(),
    }
    if neighbours is not None:
        numbers = np.asarray(neighbours).tolist()
        content["neighbours"] = _checked(numbers, target, name, "neighbour count").tolist()
    return json.dumps(content) + "\n"


def _checked(
    numbers: Any, target: ImageLmdb, name: str, kind: str, most: int | None = None
) -> np.ndarray:
    """Return `numbers`, from 1 to `most`, as int64 (count,); InputError if they are not that."""
    if not isinstance(numbers, list) or len(numbers) != target.count:
        held = f"{len(numbers)} {kind}s" if isinstance(numbers, list) else f"no list of {kind}s"
        raise InputError(
            f"{name} holds {held}, expected {target.count}, one per image of {target.path}"
        )
    largest = most or np.iinfo(np.int64).max
    for i, number in enumerate(numbers):
        if type(number) is not int or not MIN_LEVEL <= number <= largest:
            reach = f"from {MIN_LEVEL} to {most}" if most else f"from {MIN_LEVEL} on"
            raise InputError(
                f"{name}: the {kind} of {target.name(i)} is {number!r}, expected an integer {reach}"
            )
    return np.array(numbers, np.int64)
