"""Decoding: from a Datum record or a file's bytes to an H x W x 3 uint8 BGR array.

A JPEG much larger than it will be shown is decoded at 1/2, 1/4 or 1/8 of its size, which leaves out
most of the work: never so far that it would have to be enlarged afterwards.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from sjft.errors import BadImageError
from sjft.jpeg import is_cut_short, jpeg_shape, largest_reduction, reduced_shape
from sjft.messages import Datum

#: From the (height, width) of a whole image to that at which it will be shown, in pixels.
Resized = Callable[[int, int], "tuple[int, int]"]

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class Decoded(NamedTuple):
    """A decoded image: `pixels`, h x w x 3 uint8 BGR, and the size of the whole image in pixels.

    The two sizes differ if the image was decoded at a reduced size.
    """

    pixels: np.ndarray
    height: int
    width: int


def decode_image(encoded: bytes, name: str) -> np.ndarray:
    """Decode a JPEG, PNG or other file that OpenCV reads.

    Grey images become three equal channels, 16-bit ones 8-bit, an alpha channel is dropped and the
    EXIF orientation is applied, as Caffe's native layers do with the same OpenCV call.

    Returns H x W x 3 uint8, BGR. Raises BadImageError naming the image `name` if it cannot be
    decoded, a JPEG that is cut short included; MemoryError if there is no memory for it.
    """
    return _decode(encoded, name, cv2.IMREAD_COLOR)


def decode_reduced(encoded: bytes, name: str, resized: Resized) -> Decoded:
    """Decode as decode_image does, a JPEG at the smallest size that `resized` does not enlarge.

    Raises BadImageError naming the image `name` if it cannot be decoded, a JPEG that is cut short
    included; MemoryError if there is no memory for it.
    """
    shape = jpeg_shape(encoded)
    reduction = 1 if shape is None else largest_reduction(*shape, resized(*shape))
    pixels = _decode(encoded, name, _FLAGS[reduction])
    height, width = pixels.shape[:2]
    if shape is not None and reduction > 1:
        is_upright = reduced_shape(*shape, reduction) == (height, width)
        height, width = shape if is_upright else shape[::-1]  # EXIF may say to turn it
    return Decoded(pixels, height, width)


def _decode(encoded: bytes, name: str, flags: int) -> np.ndarray:
    if is_cut_short(encoded):  # OpenCV 4 paints what is missing grey, OpenCV 5 refuses
        raise BadImageError(
            f"{name} cannot be decoded: the JPEG is cut short, expected an end-of-image marker in "
            f"its {len(encoded)} bytes"
        )
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:  # no fault of the image: another must not stand in
            raise MemoryError(f"{name} cannot be decoded: {error.err}") from None
        image = None
    if image is None:
        raise BadImageError(
            f"{name} cannot be decoded: expected the bytes of a JPEG, PNG or other image file, "
            f"got {len(encoded)} bytes that OpenCV does not recognise"
        )
    return image


def parse_datum(value: bytes, name: str) -> Any:
    """Parse a Datum's bytes; raise BadImageError naming the record `name` if they are not one."""
    datum = Datum()
    try:
        datum.ParseFromString(value)
    except DecodeError:
        raise BadImageError(f"{name} is not a Caffe Datum record") from None
    return datum


def decode_datum(value: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode a Datum record, whichever of Caffe's three forms it has: encoded, raw bytes, floats.

    Raw and float data are C x H x W with C of 1 (grey) or 3 (BGR); floats are rounded and must lie
    in 0..255. Returns the image, H x W x 3 uint8 BGR, and its label. Raises BadImageError naming
    the record `name`.
    """
    datum = parse_datum(value, name)
    image = decode_image(datum.data, name) if datum.encoded else _pixels(datum, name)
    return image, datum.label


def decode_datum_reduced(value: bytes, name: str, resized: Resized) -> Decoded:
    """Decode a Datum record as decode_datum does, a JPEG at a reduced size: see decode_reduced."""
    datum = parse_datum(value, name)
    if datum.encoded:
        return decode_reduced(datum.data, name, resized)
    pixels = _pixels(datum, name)
    return Decoded(pixels, *pixels.shape[:2])


def _pixels(datum: Any, name: str) -> np.ndarray:
    """Return the image of a Datum that is not encoded."""
    shape = (datum.channels, datum.height, datum.width)
    if datum.data:
        flat = np.frombuffer(datum.data, np.uint8)
    else:
        floats = np.rint(np.array(datum.float_data, np.float32))
        if floats.size and not (floats.min() >= 0 and floats.max() <= 255):
            raise BadImageError(f"{name} holds floats outside 0..255: expected pixel values")
        flat = floats.astype(np.uint8)
    if shape[0] not in (1, 3) or min(shape) < 1 or flat.size != shape[0] * shape[1] * shape[2]:
        raise BadImageError(
            f"{name} states channels x height x width = {shape[0]} x {shape[1]} x {shape[2]} and "
            f"holds {flat.size} values: expected 1 or 3 channels and as many values as stated"
        )
    image = flat.reshape(shape).transpose(1, 2, 0)
    if shape[0] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)
