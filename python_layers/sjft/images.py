"""Decoding: from a Datum record or a file's bytes to an H x W x 3 uint8 BGR array."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from sjft.errors import InputError
from sjft.messages import Datum


def decode_image(encoded: bytes, name: str) -> np.ndarray:
    """Decode a JPEG, PNG or other file that OpenCV reads.

    Grey images become three equal channels, 16-bit ones 8-bit, an alpha channel is dropped and the
    EXIF orientation is applied, as Caffe's native layers do with the same OpenCV call.

    Returns H x W x 3 uint8, BGR. Raises InputError naming the image `name` if it cannot be decoded.
    """
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(
            f"{name} cannot be decoded: expected the bytes of a JPEG, PNG or other image file, "
            f"got {len(encoded)} bytes that OpenCV does not recognise"
        )
    return image


def parse_datum(value: bytes, name: str) -> Any:
    """Parse the bytes of a Datum; raise InputError naming the record `name` if they are not one."""
    datum = Datum()
    try:
        datum.ParseFromString(value)
    except DecodeError:
        raise InputError(f"{name} is not a Caffe Datum record") from None
    return datum


def decode_datum(value: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode a Datum record, whichever of Caffe's three forms it has: encoded, raw bytes, floats.

    Raw and float data are C x H x W with C of 1 (grey) or 3 (BGR); floats are rounded and must lie
    in 0..255. Returns the image, H x W x 3 uint8 BGR, and its label. Raises InputError naming the
    record `name`.
    """
    datum = parse_datum(value, name)
    if datum.encoded:
        return decode_image(datum.data, name), datum.label
    shape = (datum.channels, datum.height, datum.width)
    if datum.data:
        flat = np.frombuffer(datum.data, np.uint8)
    else:
        floats = np.rint(np.array(datum.float_data, np.float32))
        if floats.size and not (floats.min() >= 0 and floats.max() <= 255):
            raise InputError(f"{name} holds floats outside 0..255: expected pixel values")
        flat = floats.astype(np.uint8)
    if shape[0] not in (1, 3) or min(shape) < 1 or flat.size != shape[0] * shape[1] * shape[2]:
        raise InputError(
            f"{name} states channels x height x width = {shape[0]} x {shape[1]} x {shape[2]} and "
            f"holds {flat.size} values: expected 1 or 3 channels and as many values as stated"
        )
    image = flat.reshape(shape).transpose(1, 2, 0)
    if shape[0] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image), datum.label
