"""Thumbnails: vectors whose inner product tells roughly whether two images show one picture.

A source image has one thumbnail, that of its central window. A test image has many, of windows that
lie around its centre and are a little smaller or larger, each mirrored too: one of them shows about
what the source's window shows if either image is a crop of the other.
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from sjft_tools.leaks.specimens import SIDE, without_shades

PIXELS = 16
DIMENSIONS = PIXELS * PIXELS

#: The central window's side, as a share of the image's: the rest is room for crops of either.
WINDOW = 0.92
#: The test images' windows are so many times larger: in 3 x 3 places each, but for the first.
_SCALES = (1.0, 0.92, 1.08)

_SIGMA = PIXELS / 8
#: Root mean square in grey levels, below which a thumbnail shows the noise of the encoding.
_UNIFORM = 1.0


def _windows() -> list[tuple[float, float, float]]:
    """Return (top, left, side) of a test image's windows, as shares of the image's side."""
    windows = []
    for scale in _SCALES:
        room = abs(1 - scale) / 2
        steps = (-room, 0.0, room) if room else (0.0,)
        side = WINDOW * scale
        windows += [
            (0.5 - side / 2 + y, 0.5 - side / 2 + x, side) for y, x in product(steps, steps)
        ]
    return windows


_WINDOWS = _windows()

#: Thumbnails of a test image: this many upright, and as many mirrored.
VIEWS = len(_WINDOWS)


def source_thumbnail(grey: np.ndarray) -> np.ndarray:
    """Return the thumbnail of a source image's specimen, float32 (DIMENSIONS,)."""
    return _thumbnail(grey, *_WINDOWS[0])


def test_thumbnails(grey: np.ndarray) -> np.ndarray:
    """Return those of a test image's specimen, float32 2 x VIEWS x DIMENSIONS: upright, mirrored.

    All zero if the image is nearly uniform.
    """
    both = (grey, np.ascontiguousarray(grey[:, ::-1]))
    return np.stack([[_thumbnail(one, *window) for window in _WINDOWS] for one in both])


def _thumbnail(grey: np.ndarray, top: float, left: float, side: float) -> np.ndarray:
    """Return a window of a specimen: mean 0 and length 1, or all 0 if it is nearly uniform.

    What lies beyond the image's edge repeats it.
    """
    # pixel x of the window's SIDE lies at side * (x + 1/2) - 1/2 + SIDE * left of the image
    shift = (side - 1) / 2
    matrix = np.array([[side, 0, shift + SIDE * left], [0, side, shift + SIDE * top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(
        grey.astype(np.float32), matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    small = cv2.resize(shown, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
    vector = without_shades(small, _SIGMA).ravel()
    vector -= vector.mean()
    length = float(np.linalg.norm(vector))
    if length < _UNIFORM * PIXELS:
        return np.zeros(DIMENSIONS, np.float32)
    return vector / np.float32(length)
