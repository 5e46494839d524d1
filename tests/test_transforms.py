"""Views of images: exact plans, exact pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from conftest import centre_view, draw_image
from sjft.errors import InputError
from sjft.transforms import (
    Geometry,
    View,
    apply_view,
    central_view,
    random_view,
    resized_shape,
)

MEAN = np.array([104, 117, 123], np.float32)
WARP = Geometry(resize=32, shorter=None, crop=20, mirror=True)
SHORTER = Geometry(resize=None, shorter=(24, 40), crop=20, mirror=True)


def literal(image: np.ndarray, view: View, crop: int) -> np.ndarray:
    """The transform written out pixel by pixel."""
    resized = cv2.resize(image, (view.width, view.height), interpolation=cv2.INTER_LINEAR)
    out = np.empty((3, crop, crop), np.float32)
    for c in range(3):
        for y in range(crop):
            for x in range(crop):
                column = crop - 1 - x if view.mirrored else x
                pixel = resized[view.top + y, view.left + column, c]
                out[c, y, x] = np.float32(pixel) - MEAN[c]
    return out


@pytest.mark.parametrize("geometry", [WARP, SHORTER, Geometry(None, None, 31, False)])
@pytest.mark.parametrize("seed", range(8))
def test_random_views_show_the_right_pixels(geometry: Geometry, seed: int) -> None:
    image = draw_image(seed)
    view = random_view(40, 48, geometry, np.random.default_rng(seed).random(4), "x")
    out = apply_view(image, view, geometry.crop, MEAN)
    assert out.dtype == np.float32
    assert np.array_equal(out, literal(image, view, geometry.crop))
    into = np.full_like(out, np.nan)
    assert apply_view(image, view, geometry.crop, MEAN, into) is into
    assert np.array_equal(into, out)
    pixels = np.full(out.shape, 7, np.uint8)
    assert apply_view(image, view, geometry.crop, MEAN, pixels) is pixels
    assert np.array_equal(pixels - MEAN[:, None, None], out)


def test_random_views_reach_every_place_and_no_other() -> None:
    u = np.random.default_rng(0).random((4000, 4))
    views = [random_view(40, 48, SHORTER, numbers, "x") for numbers in u]
    assert {v.height for v in views} == set(range(24, 41))
    assert {v.width for v in views} == {round(s * 48 / 40) for s in range(24, 41)}
    assert all(0 <= v.top <= v.height - 20 and 0 <= v.left <= v.width - 20 for v in views)
    assert 0.45 < np.mean([v.mirrored for v in views]) < 0.55
    warped = [random_view(40, 48, WARP, numbers, "x") for numbers in u]
    assert {(v.top, v.left) for v in warped} == {(y, x) for y in range(13) for x in range(13)}
    assert not any(random_view(40, 48, WARP._replace(mirror=False), n, "x").mirrored for n in u)


def test_largest_random_number_stays_inside() -> None:
    view = random_view(40, 48, SHORTER, np.full(4, 1 - 2.0**-53), "x")
    assert view == View(40, 48, 20, 28, True)


@pytest.mark.parametrize(
    "height, width, shorter, expected",
    [
        (40, 48, 20, (20, 24)),
        (48, 40, 21, (25, 21)),
        (7, 7, 3, (3, 3)),
        (500, 333, 256, (384, 256)),
    ],
)
def test_shorter_side_keeps_the_aspect_ratio(
    height: int, width: int, shorter: int, expected: tuple[int, int]
) -> None:
    assert resized_shape(height, width, None, shorter) == expected
    assert resized_shape(height, width, 9, None) == (9, 9)
    assert resized_shape(height, width, None, None) == (height, width)


@pytest.mark.parametrize(
    "resize, shorter, view",
    [
        (32, None, View(32, 32, 5, 5, False)),
        (None, 30, View(30, 36, 4, 7, False)),
        (None, None, View(40, 48, 9, 13, False)),
    ],
)
def test_centre_view(resize: int | None, shorter: int | None, view: View) -> None:
    image = draw_image(3)
    out = centre_view(image, resize, shorter, 21, [104, 117, 123])
    assert np.array_equal(out, literal(image, view, 21))
    ends = None if shorter is None else (shorter, shorter + 8)
    assert central_view(40, 48, Geometry(resize, ends, 21, True), "x") == view


def test_a_crop_larger_than_the_image_is_an_error() -> None:
    with pytest.raises(InputError) as error:
        centre_view(draw_image(0), None, None, 41, [0, 0, 0], "image 7 of some_lmdb")
    assert str(error.value).startswith("crop 41 is larger than image 7 of some_lmdb")
    assert "48 x 40 pixels" in str(error.value)
    with pytest.raises(InputError, match="expected a crop of at most 32"):
        random_view(40, 48, WARP._replace(crop=33), np.zeros(4), "x")
