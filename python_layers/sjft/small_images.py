"""Images smaller than the crop, found before training instead of when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.transforms import Geometry


def refuse_small_images(
    used: Sequence[tuple[ImageLmdb, np.ndarray]], geometry: Geometry, bearable: int
) -> None:
    """Raise InputError if more than `bearable` of the images in use are smaller than the crop.

    `used`: image LMDBs, each with the positions, int (n,), of the images that may be drawn. Those
    that are resized fit; of those whose size the LMDB does not tell, nothing is known.
    """
    if geometry.resize is not None or geometry.shorter is not None:
        return
    count, first = 0, ""
    for images, positions in used:
        if images.sides is None:
            continue
        sides = images.sides[positions]
        small = np.flatnonzero((sides > 0) & (sides < geometry.crop))
        count += len(small)
        if len(small) and not first:
            first = f"{images.name(int(positions[small[0]]))}, of {sides[small[0]]} pixels"
    if count > bearable:
        raise InputError(
            f"{count} of the images to be drawn have a shorter side than crop = {geometry.crop}, "
            f"the first is {first}: give 'resize' or 'resize_shorter', or enlarge them by 'sjft "
            f"convert --resize-shorter'"
        )
