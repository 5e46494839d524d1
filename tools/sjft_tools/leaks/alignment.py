"""The likeness of two images: their correlation at the best alignment of one on the other."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from sjft_tools.leaks.specimens import Specimen, scaled, without_shades

#: The central part of each image is looked for in the other, which is scaled by these factors,
_SCALES = tuple(1 + step / 50 for step in range(-2, 8))
#: then about the best of them height and width each by these.
_FINE = (-0.02, -0.01, 0.0, 0.01, 0.02)
#: The fine search lifts a correlation by less than this: below the threshold by more, it is left.
_FINE_GAIN = 0.1

_MARGIN = 0.04  # what the central part leaves on each side
_BEYOND = 3  # pixels that may be missing at an edge


def likeness(test: Specimen, source: Specimen, is_mirrored: bool, threshold: float) -> float:
    """Return the correlation of two images, -1 to 1, at the best of some thousand alignments.

    Either image may be a crop of the other, of at least about 0.86 of its side. Compared are grey
    values without broad shades, at the lesser of both images' detail; a change of brightness or
    contrast alters nothing. `is_mirrored`: the test image is mirrored first. Of images that
    stay below `threshold` the result is a lower bound.
    """
    grey = np.ascontiguousarray(test.grey[:, ::-1]) if is_mirrored else test.grey
    detail = min(test.detail, source.detail)
    one_way = _search(grey, source.grey, detail, threshold)
    return min(1.0, max(one_way, _search(source.grey, grey, detail, threshold)))


def _search(image: np.ndarray, other: np.ndarray, detail: int, threshold: float) -> float:
    """Look for the central part of `other` in `image`, both SIDE x SIDE, at `detail` pixels."""
    margin = round(detail * _MARGIN)
    whole = without_shades(scaled(other, detail, detail), detail / 8)
    part = whole[margin : detail - margin, margin : detail - margin]

    def at(scale_y: float, scale_x: float) -> float:
        height, width = round(detail * scale_y), round(detail * scale_x)
        found = without_shades(scaled(image, height, width), detail / 8)
        found = np.pad(found, _BEYOND, "symmetric")
        if found.shape[0] < part.shape[0] or found.shape[1] < part.shape[1]:
            return -1.0
        return float(cv2.matchTemplate(found, part, cv2.TM_CCOEFF_NORMED).max())

    best, scale = max((at(scale, scale), scale) for scale in _SCALES)
    if best < threshold - _FINE_GAIN:
        return best
    return max(best, *(at(scale + y, scale + x) for y, x in product(_FINE, _FINE)))
