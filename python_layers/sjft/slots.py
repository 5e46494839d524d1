"""Filling one slot of a batch: an image, or a pair; another stands in for one that is bad."""

from __future__ import annotations

from typing import Callable

import numpy as np

from sjft.errors import BadImageError, InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import ERROR, JointDataParams, TargetDataParams
from sjft.sampling import ATTEMPTS
from sjft.showing import show


def show_record(
    lmdb: ImageLmdb,
    i: int,
    params: JointDataParams | TargetDataParams,
    u: np.ndarray | None,
    row: np.ndarray,
) -> None:
    """Write the view of record `i` that `params` and the random numbers `u` ask for into `row`.

    `u`: float64 (4,) in [0, 1), None for the central view; `row`: 3 x crop x crop, as `out` of
    showing.show. Raises BadImageError as that does, InputError if the record is missing.
    """
    show(lmdb.value(i), lmdb.name(i), params.geometry, params.mean, u, row)


def shown_or_replaced(
    show_slot: Callable[[], None], replace: Callable[[int], None], on_bad_image: str
) -> list[str]:
    """Fill a slot by `show_slot`; after a BadImageError call ``replace(attempt)`` and try again.

    Returns a sentence for each image that could not be used. Raises BadImageError at once if
    `on_bad_image` is ERROR, InputError if after all attempts no image was found.
    """
    bad: list[str] = []
    for attempt in range(2 * ATTEMPTS):
        try:
            show_slot()
            return bad
        except BadImageError as error:
            if on_bad_image == ERROR:
                raise
            bad.append(str(error))
            replace(attempt)
    raise InputError(
        f"of {2 * ATTEMPTS} images drawn in turn none could be used, the last because {bad[-1]}: "
        f"expected a data set most of which can be used"
    )
