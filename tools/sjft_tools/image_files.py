"""From the bytes of an image file to the bytes that an image LMDB stores."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from sjft.errors import InputError
from sjft.images import decode_image
from sjft.transforms import resized_shape

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"

_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)
# In a JPEG's compressed data FF is followed by 00 (a data byte FF) or D0..D7 (a restart mark);
# anything else is the next marker.
_MARKER_IN_DATA = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9


class Storage(NamedTuple):
    """How images are stored, in pixels.

    `resize` warps them to a square, `shorter` scales their shorter side; with neither they keep
    their size. `quality`: of JPEGs that are encoded anew, 1..100.
    """

    resize: int | None
    shorter: int | None
    quality: int


class Stored(NamedTuple):
    """What is stored: a JPEG's or PNG's bytes, and the size of the picture in pixels."""

    content: bytes
    height: int
    width: int


def stored_image(content: bytes, name: str, storage: Storage) -> Stored:
    """Decode an image file's `content` and return what to store for it.

    A JPEG or PNG that has the wanted size already is kept byte for byte. Otherwise JPEGs are
    encoded anew as JPEG and all else as PNG, 8 bits per channel, BGR, upright. Shrinking averages
    over pixels (cv2.INTER_AREA), enlarging is bilinear. Raises InputError naming the image `name`
    if it is incomplete, cannot be decoded, or would become too large.
    """
    check_complete(content, name)
    image = decode_image(content, name)
    old_height, old_width = image.shape[:2]
    height, width = resized_shape(old_height, old_width, storage.resize, storage.shorter)
    is_jpeg = content.startswith(_JPEG)
    is_resized = (height, width) != (old_height, old_width)
    if not is_resized and (is_jpeg or content.startswith(_PNG)):
        return Stored(content, height, width)
    try:
        if is_resized:
            smaller = height <= old_height and width <= old_width
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
        encoded = _encoded(image, storage.quality if is_jpeg else None)
    except (cv2.error, OverflowError):
        # for want of memory, or for the format: a JPEG's sides have at most 65,500 pixels. OpenCV 4
        # raises OverflowError for sides beyond 32 bits.
        raise InputError(
            f"{name} cannot be stored at {width} x {height} pixels: expected a smaller size"
        ) from None
    return Stored(encoded, height, width)


def _encoded(image: np.ndarray, quality: int | None) -> bytes:
    """Encode an H x W x 3 uint8 BGR image as JPEG of `quality`, or as PNG if that is None."""
    if quality is None:
        done, content = cv2.imencode(".png", image)
    else:
        done, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise cv2.error(f"could not encode an image of shape {image.shape}")
    return content.tobytes()


def check_complete(content: bytes, name: str) -> None:
    """Raise InputError naming the image `name` if it is a JPEG or PNG that ends too early.

    Most versions of OpenCV decode a truncated JPEG without a word and paint what is missing grey.
    """
    if content.startswith(_JPEG):
        complete = _jpeg_ends(content)
    elif content.startswith(_PNG):
        complete = _png_ends(content)
    else:
        return
    if not complete:
        raise InputError(
            f"{name} cannot be decoded: the file is truncated or damaged ({len(content)} bytes), "
            f"expected the end of the image"
        )


def _jpeg_ends(content: bytes) -> bool:
    """Walk a JPEG's segments; return whether they lead to the end-of-image marker.

    Bytes between segments are passed over, as decoders do.
    """
    position, pattern = 2, _MARKER
    while (found := pattern.search(content, position)) is not None:
        behind = found.end()
        marker = content[behind - 1]
        if marker == _END_OF_IMAGE:
            return True
        position = behind + int.from_bytes(content[behind : behind + 2], "big")
        pattern = _MARKER_IN_DATA if marker == _START_OF_SCAN else _MARKER
    return False


def _png_ends(content: bytes) -> bool:
    """Walk a PNG's chunks, checking their sums; return whether they lead to the end chunk."""
    position = len(_PNG)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        position = end + 4
    return False
