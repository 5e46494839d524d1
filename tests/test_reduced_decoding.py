"""JPEGs decoded at reduced size: never below what is shown, and showing the same part."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from conftest import draw_image
from sjft.images import decode_datum_reduced, decode_image, decode_reduced
from sjft.jpeg import jpeg_shape, largest_reduction, reduced_shape
from sjft.showing import show
from sjft.transforms import Geometry, apply_view, central_view, random_view
from sjft_tools.image_lmdb_writer import encoded_datum

MEAN = np.array([104, 117, 123], np.float32)

#: An EXIF segment whose orientation is 6: to be turned by 90 degrees clockwise.
TURNED = (
    b"\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08"
    b"\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
)


def jpeg(height: int, width: int, seed: int = 0, turned: bool = False, **flags: int) -> bytes:
    image = draw_image(seed, height, width)
    named = [v for name, value in flags.items() for v in (getattr(cv2, name), value)]
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95, *named])[1].tobytes()
    return encoded[:2] + TURNED + encoded[2:] if turned else encoded


@pytest.mark.parametrize("height, width", [(1, 1), (8, 300), (97, 64), (600, 800)])
@pytest.mark.parametrize("flags", [{}, {"IMWRITE_JPEG_PROGRESSIVE": 1}])
@pytest.mark.parametrize("turned", [False, True])
def test_size_before_decoding(height: int, width: int, flags: dict, turned: bool) -> None:
    assert jpeg_shape(jpeg(height, width, turned=turned, **flags)) == (height, width)


def test_size_of_what_is_no_jpeg_or_damaged() -> None:
    png = cv2.imencode(".png", draw_image(0))[1].tobytes()
    assert jpeg_shape(png) is None
    whole = jpeg(40, 48, turned=True)
    known = [jpeg_shape(whole[:length]) for length in range(len(whole))]
    assert set(known) == {None, (40, 48)}
    assert known == sorted(known, key=bool)  # from some length on it is known, and stays so
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(whole)
        for at in rng.integers(0, 700, 5):
            damaged[at] = rng.integers(256)
        shape = jpeg_shape(bytes(damaged))
        assert shape is None or min(shape) > 0


def test_largest_reduction_never_goes_below() -> None:
    for side in range(1, 1000, 7):
        for least in range(1, 300, 11):
            reduction = largest_reduction(side, 2 * side, (least, least))
            assert reduction == 1 or min(reduced_shape(side, 2 * side, reduction)) >= least
            larger = reduced_shape(side, 2 * side, 2 * reduction)
            assert reduction == 8 or min(larger) < least


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "height, width, side, expected",
    [
        (600, 800, 256, 2),
        (601, 803, 150, 4),
        (511, 700, 256, 2),
        (510, 700, 256, 1),
        (792, 704, 80, 8),
    ],
)
def test_decoded_size(height: int, width: int, side: int, expected: int, turned: bool) -> None:
    encoded = jpeg(height, width, turned=turned)
    decoded = decode_reduced(encoded, "x", lambda h, w: (side, side))
    whole = decode_image(encoded, "x")
    assert (decoded.height, decoded.width) == whole.shape[:2]
    assert decoded.pixels.shape[:2] == reduced_shape(*whole.shape[:2], expected)
    small = cv2.resize(whole, decoded.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    difference = np.abs(decoded.pixels.astype(int) - small)
    assert difference.mean() < 4


def test_others_than_jpegs_are_decoded_whole() -> None:
    image = draw_image(3, 400, 300)
    png = encoded_datum(cv2.imencode(".png", image)[1].tobytes(), 0)
    raw = {"channels": 3, "height": 400, "width": 300, "label": 0}
    from sjft.messages import Datum

    plain = Datum(data=image.transpose(2, 0, 1).tobytes(), **raw).SerializeToString()
    for value in (png, plain):
        decoded = decode_datum_reduced(value, "x", lambda h, w: (40, 30))
        np.testing.assert_array_equal(decoded.pixels, image)
        assert (decoded.height, decoded.width) == (400, 300)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "resize, shorter", [(64, None), (None, (64, 64)), (None, (64, 120)), (None, None)]
)
def test_the_same_part_is_shown_as_of_the_whole_image(
    resize: int | None, shorter: tuple | None, turned: bool
) -> None:
    geometry = Geometry(resize, shorter, 56, mirror=True)
    for seed in range(6):
        encoded = jpeg(301, 517, seed, turned)
        value, whole = encoded_datum(encoded, 0), decode_image(encoded, "x")
        u = np.random.default_rng(seed).random(4)
        for numbers, view in (
            (u, random_view(*whole.shape[:2], geometry, u, "x")),
            (None, central_view(*whole.shape[:2], geometry, "x")),
        ):
            shown = show(value, "x", geometry, MEAN, numbers)
            expected = apply_view(whole, view, 56, MEAN)
            # the last row or column of blocks is padded: up to 7 pixels of stretching
            assert np.abs(shown - expected).mean() < 5
            if resize is None and shorter is None:
                np.testing.assert_array_equal(shown, expected)
