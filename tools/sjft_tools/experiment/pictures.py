"""Pictures inside an HTML file: figures and sheets as they are, images as small JPEGs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sjft.errors import InputError

_QUALITY = 88


class Picture(NamedTuple):
    """A picture as what stands in `src`, with its size in pixels."""

    uri: str
    width: int
    height: int


def thumbnail(image: np.ndarray, side: int) -> Picture:
    """Return `image`, H x W x 3 uint8 BGR, as a JPEG of at most `side` pixels; never enlarged."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _picture(_jpeg(small), "jpeg", size)


def picture_of_file(path: str) -> Picture:
    """Return the PNG file `path`, as a JPEG where that is smaller: a sheet of photographs.

    Raises InputError if it cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"the picture {path} cannot be read: {error.strerror}") from None
    # of nothing OpenCV makes no picture but an exception
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None:
        raise InputError(f"the picture {path} cannot be read: expected a PNG")
    size = (pixels.shape[1], pixels.shape[0])
    jpeg = _jpeg(pixels)
    if len(jpeg) < len(content):
        return _picture(jpeg, "jpeg", size)
    return _picture(content, "png", size)


def _jpeg(image: np.ndarray) -> bytes:
    encoded: bytes = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return encoded


def _picture(content: bytes, kind: str, size: tuple[int, int]) -> Picture:
    data = base64.b64encode(content).decode("ascii")
    return Picture(f"data:image/{kind};base64,{data}", *size)
