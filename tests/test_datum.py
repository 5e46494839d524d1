"""Datum in all its forms, encoded and raw, and what is refused as one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from conftest import draw_image
from sjft.errors import InputError
from sjft.images import decode_datum, decode_image
from sjft.messages import Datum
from sjft_tools.image_lmdb_writer import encoded_datum


def as_planes(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1)


def test_the_three_forms_of_datum():
    image = draw_image(1)
    size = {"channels": 3, "height": 40, "width": 48, "label": 5}
    planes = as_planes(image)
    forms = [
        Datum(encoded=True, data=cv2.imencode(".png", image)[1].tobytes(), label=5),
        Datum(**size, data=planes.tobytes()),
        Datum(**size, float_data=planes.ravel().astype(float).tolist()),
        Datum(**size, float_data=(planes.ravel() * 0.99 + 0.4).tolist()),
    ]
    decoded = [decode_datum(form.SerializeToString(), "x") for form in forms]
    for pixels, label in decoded:
        assert label == 5
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    for pixels, _ in decoded[:3]:
        np.testing.assert_array_equal(pixels, image)
    np.testing.assert_array_equal(decoded[3][0], np.rint(image * 0.99 + 0.4))


def test_grey_becomes_three_equal_channels():
    grey = draw_image(1)[:, :, 0]
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    size = {"channels": 1, "height": 40, "width": 48}
    for datum in (
        Datum(encoded=True, data=cv2.imencode(".png", grey)[1].tobytes()),
        Datum(**size, data=grey.tobytes()),
        Datum(**size, float_data=grey.ravel().astype(float).tolist()),
    ):
        np.testing.assert_array_equal(decode_datum(datum.SerializeToString(), "x")[0], expected)


BAD_DATUMS = {
    "garbage": (b"\xff\xff\xff", "x is not a Caffe Datum record"),
    "nothing": (b"", "x states channels x height x width = 0 x 0 x 0 and holds 0 values"),
    "html": (encoded_datum(b"<html>", 0), "x cannot be decoded: .* got 6 bytes"),
    "empty": (encoded_datum(b"", 0), "x cannot be decoded: .* got 0 bytes"),
    "short": (
        Datum(channels=3, height=2, width=2, data=b"abc").SerializeToString(),
        "x states channels x height x width = 3 x 2 x 2 and holds 3 values: expected 1 or 3",
    ),
    "two channels": (
        Datum(channels=2, height=1, width=2, data=b"abcd").SerializeToString(),
        "expected 1 or 3 channels",
    ),
    "negative": (
        Datum(channels=-1, height=-1, width=4, data=b"abcd").SerializeToString(),
        "expected 1 or 3 channels",
    ),
    "floats": (
        Datum(channels=1, height=1, width=2, float_data=[0.0, 256.0]).SerializeToString(),
        "x holds floats outside 0..255: expected pixel values",
    ),
    "nan": (
        Datum(channels=1, height=1, width=1, float_data=[float("nan")]).SerializeToString(),
        "x holds floats outside 0..255",
    ),
}


@pytest.mark.parametrize(("value", "message"), BAD_DATUMS.values(), ids=BAD_DATUMS)
def test_bad_datums(value, message):
    with pytest.raises(InputError, match=message):
        decode_datum(value, "x")


def test_datum_is_caffes():
    ours = {field.name: (field.number, field.type) for field in Datum.DESCRIPTOR.fields}
    theirs = caffe_pb2.Datum.DESCRIPTOR.fields
    assert ours == {field.name: (field.number, field.type) for field in theirs}
    values = {"channels": 3, "height": 2, "width": 1, "data": b"abcdef", "label": 7}
    values.update(float_data=[1.5, -2.0], encoded=False)
    assert Datum(**values).SerializeToString() == caffe_pb2.Datum(**values).SerializeToString()


def test_decoding_applies_the_orientation_that_exif_states():
    image = draw_image(1)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    orientation_6 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(orientation_6) + 2).to_bytes(2, "big") + orientation_6
    upright = decode_image(jpeg[:2] + segment + jpeg[2:], "x")
    np.testing.assert_array_equal(upright, np.rot90(decode_image(jpeg, "x"), -1))
