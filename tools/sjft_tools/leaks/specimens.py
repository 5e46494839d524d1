"""What is kept of an image to compare it with others: a small grey square."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from sjft.images import decode_datum_reduced

#: Side of a specimen in pixels, whatever the image's shape: half as much again as the finest
#: comparison needs, which scales it.
SIDE = 96

#: Pictures are compared at no more pixels a side than this, nor fewer than _LEAST_DETAIL.
MOST_DETAIL = 64
_LEAST_DETAIL = 24


class Specimen(NamedTuple):
    """An image, warped to a square: `grey`, SIDE x SIDE uint8.

    `detail`: at how many pixels a side it may be compared, that of its shorter side or MOST_DETAIL.
    """

    grey: np.ndarray
    detail: int


def make_specimen(value: bytes, name: str) -> Specimen:
    """Decode a Datum record, a large JPEG at reduced size.

    Raises BadImageError naming the record `name` if it cannot be decoded.
    """
    pixels, height, width = decode_datum_reduced(value, name, lambda h, w: (SIDE, SIDE))
    grey = scaled(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), SIDE, SIDE)
    return Specimen(grey, min(MOST_DETAIL, max(_LEAST_DETAIL, min(height, width))))


def scaled(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return `grey`, H x W, as height x width pixels: areas averaged, or interpolated if larger."""
    is_smaller = height < grey.shape[0] or width < grey.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    return cv2.resize(grey, (width, height), interpolation=method)


def without_shades(grey: np.ndarray, sigma: float) -> np.ndarray:
    """Return `grey` less its blur by a Gaussian of `sigma` pixels, float32 H x W.

    Broad shades, such as a light centre on a dark ground, are alike in many pictures; outlines and
    texture tell them apart.
    """
    grey = grey.astype(np.float32)
    return grey - cv2.GaussianBlur(grey, (0, 0), sigma)
