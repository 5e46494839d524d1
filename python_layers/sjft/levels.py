"""The levels file: how often each target image is visited, and how far its neighbourhood reaches.

A target image of level l uses its first k0 * l neighbours and is visited l times per epoch (method:
levels 1 to 10, all 1 at the start). The file is JSON, bound to one target LMDB by its fingerprint::

    {"format": "sjft levels 1", "target_fingerprint": "sha256:...", "levels": [1, 1, 3, ...]}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb

LEVELS = "sjft levels 1"
MIN_LEVEL = 1
MAX_LEVEL = 10


def read_levels(path: str | None, target: ImageLmdb) -> np.ndarray:
    """Return the level of every image of `target`, int64 (count,), each from 1 to 10.

    `path` None means level 1 for all. Raises InputError if the file is missing, is not a levels
    file, belongs to another target LMDB, or holds anything but one level per image.
    """
    if path is None:
        return np.full(target.count, MIN_LEVEL, np.int64)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the levels file {path} cannot be read: {error}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != LEVELS:
        raise InputError(f"{path} is not a levels file: format {found!r}, expected {LEVELS!r}")
    if content.get("target_fingerprint") != target.fingerprint:
        raise InputError(
            f"the levels file {path} was written for another target LMDB than {target.path}: "
            f"the fingerprints differ"
        )
    return _checked(content.get("levels"), target, f"the levels file {path}")


def levels_text(levels: np.ndarray, target: ImageLmdb) -> str:
    """Return the content of a levels file for `target`.

    `levels`: int (count,). Raises InputError unless there is one from 1 to 10 for every image.
    """
    checked = _checked(np.asarray(levels).tolist(), target, "the levels file to be written")
    content = {
        "format": LEVELS,
        "target_fingerprint": target.fingerprint,
        "levels": checked.tolist(),
    }
    return json.dumps(content) + "\n"


def _checked(levels: Any, target: ImageLmdb, name: str) -> np.ndarray:
    if not isinstance(levels, list) or len(levels) != target.count:
        held = f"{len(levels)} levels" if isinstance(levels, list) else "no list of levels"
        raise InputError(
            f"{name} holds {held}, expected {target.count}, one per image of {target.path}"
        )
    for i, level in enumerate(levels):
        if type(level) is not int or not MIN_LEVEL <= level <= MAX_LEVEL:
            raise InputError(
                f"{name}: the level of {target.name(i)} is {level!r}, expected an integer from "
                f"{MIN_LEVEL} to {MAX_LEVEL}"
            )
    return np.array(levels, np.int64)
