"""From a stored record to the net's input: decode no more than is needed, draw a view, apply it."""

from __future__ import annotations

import numpy as np

from sjft.images import decode_datum_reduced
from sjft.transforms import (
    Geometry,
    apply_view,
    central_view,
    random_view,
    resized_shape,
    shorter_side,
)


def show(
    value: bytes,
    name: str,
    geometry: Geometry,
    mean: np.ndarray,
    u: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return a view of the image in a Datum record: the central one, or a random one by `u`.

    `value`: the record's bytes; `mean`: float32 (3,), BGR; `u`: float64 (4,) in [0, 1), see
    transforms.random_view. Which part of the image is shown does not depend on the size at which it
    is decoded. Returns float32 3 x crop x crop, BGR, mean subtracted, written into `out` if given;
    a uint8 `out` gets the pixels themselves. Raises BadImageError naming the record `name` if it
    cannot be decoded or is too small.
    """
    shorter = shorter_side(geometry, u)

    def resized(height: int, width: int) -> tuple[int, int]:
        return resized_shape(height, width, geometry.resize, shorter)

    image = decode_datum_reduced(value, name, resized)
    if u is None:
        view = central_view(image.height, image.width, geometry, name)
    else:
        view = random_view(image.height, image.width, geometry, u, name)
    return apply_view(image.pixels, view, geometry.crop, mean, out)
