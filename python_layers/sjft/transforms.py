"""From a stored image to the net's input: resize, crop, mirror, subtract the mean.

A :class:`View` says exactly which part of an image is shown and how; drawing one (at random or in
the centre) and applying it are separate, so that either can be checked alone. The method warps to
256 x 256 or scales the shorter side to a random length in [256, 480], crops 224 x 224 at random and
mirrors with probability 1/2.

Resizing is bilinear (cv2.INTER_LINEAR) in both directions, as in Caffe's own convert_imageset and
in the data layers of most published Caffe models; INTER_AREA would smooth more when shrinking, but
show a pre-trained net other pixels than it was trained on, at ten times the cost.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from sjft.errors import BadImageError
from sjft.randomness import scale_to_integers


class Geometry(NamedTuple):
    """The settings of a transform, in pixels.

    `resize`: warp to this square, or None. `shorter`: scale the shorter side to a length in this
    closed range, keeping the aspect ratio, or None. At most one of the two is given; with neither
    the image keeps its stored size. `crop`: side of the square that is cut out. `mirror`: whether
    random views are mirrored half of the time.
    """

    resize: int | None
    shorter: tuple[int, int] | None
    crop: int
    mirror: bool


class View(NamedTuple):
    """One way to show an image: resized to height x width, then the crop at (top, left)."""

    height: int
    width: int
    top: int
    left: int
    mirrored: bool


def resized_shape(
    height: int, width: int, resize: int | None, shorter: int | None
) -> tuple[int, int]:
    """Return (height, width) after resizing; the longer side is rounded to the nearest pixel."""
    if resize is not None:
        return resize, resize
    if shorter is None:
        return height, width
    short = min(height, width)
    return (
        (2 * height * shorter + short) // (2 * short),
        (2 * width * shorter + short) // (2 * short),
    )


def shorter_side(geometry: Geometry, u: np.ndarray | None) -> int | None:
    """Return the length to which the shorter side is scaled, None if it is not.

    `u`: the numbers of a random view, see random_view; None for the central view, which takes the
    low end of the range.
    """
    if geometry.shorter is None:
        return None
    low, high = geometry.shorter
    return low if u is None else low + int(scale_to_integers(u[0], high - low + 1))


def random_view(height: int, width: int, geometry: Geometry, u: np.ndarray, name: str) -> View:
    """Return a random view of an image of height x width.

    `u`: float64 (4,) in [0, 1): for the length of the shorter side, top, left, and the mirror.
    Raises BadImageError naming the image `name` if the crop is larger than the resized image.
    """
    h, w = resized_shape(height, width, geometry.resize, shorter_side(geometry, u))
    _check_crop(h, w, geometry.crop, name)
    top = int(scale_to_integers(u[1], h - geometry.crop + 1))
    left = int(scale_to_integers(u[2], w - geometry.crop + 1))
    return View(h, w, top, left, geometry.mirror and bool(u[3] >= 0.5))


def central_view(height: int, width: int, geometry: Geometry, name: str) -> View:
    """Return the central view, never mirrored, with the low end of the range of shorter sides.

    An odd margin leaves the extra pixel below and to the right, as Caffe's native layers do. Raises
    BadImageError naming the image `name` if the crop is larger than the resized image.
    """
    h, w = resized_shape(height, width, geometry.resize, shorter_side(geometry, None))
    _check_crop(h, w, geometry.crop, name)
    return View(h, w, (h - geometry.crop) // 2, (w - geometry.crop) // 2, False)


def _check_crop(height: int, width: int, crop: int, name: str) -> None:
    if crop > min(height, width):
        raise BadImageError(
            f"crop {crop} is larger than {name}, which is {width} x {height} pixels when cropped: "
            f"expected a crop of at most {min(height, width)}, or a larger resize"
        )


def apply_view(
    image: np.ndarray, view: View, crop: int, mean: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Show `image`, H x W x 3 uint8 BGR, as `view` says.

    `mean`: float32 (3,), BGR. Returns float32 3 x crop x crop, BGR, written into `out` if given; a
    uint8 `out` gets the pixels themselves.
    """
    if out is None:
        out = np.empty((3, crop, crop), np.float32)
    if image.shape[:2] != (view.height, view.width):
        image = cv2.resize(image, (view.width, view.height), interpolation=cv2.INTER_LINEAR)
    part = image[view.top : view.top + crop, view.left : view.left + crop]
    if view.mirrored:
        part = cv2.flip(part, 1)
    # one channel at a time: reading the interleaved pixels in three strided passes is slower
    for plane, channel_mean, channel_out in zip(cv2.split(part), mean, out):
        if out.dtype == np.uint8:
            np.copyto(channel_out, plane)
        else:
            np.subtract(plane, channel_mean, out=channel_out)
    return out
