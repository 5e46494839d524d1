"""Writing the levels file of a target LMDB."""

from __future__ import annotations

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.levels import levels_text
from sjft_tools.atomic import write_file


def write_levels(
    path: str,
    levels: np.ndarray,
    target: ImageLmdb,
    force: bool = False,
    neighbours: np.ndarray | None = None,
) -> None:
    """Write `levels`, int (count,) from 1 to 10, one per image of `target`, as the file `path`.

    `neighbours`, int (count,) from 1 on, states how many neighbours each image uses; None for
    k0 * level. The file appears only when complete. Raises InputError if a number is out of range,
    if they are not as many as the images, or if `path` exists and `force` is not set.
    """
    text = levels_text(levels, target, neighbours)
    write_file(path, text.encode(), force)
