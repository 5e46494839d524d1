"""JPEGs that are cut short: refused by every OpenCV, and by ``sjft convert`` alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from conftest import draw_image
from sjft.errors import BadImageError, InputError
from sjft.images import decode_image, decode_reduced
from sjft_tools.image_files import Storage, stored_image

AS_IT_IS = Storage(None, None, 90)

FORMS = {
    "baseline": {},
    "progressive": {"IMWRITE_JPEG_PROGRESSIVE": 1},
    "restart markers": {"IMWRITE_JPEG_RST_INTERVAL": 2},
}


def jpeg(seed: int = 0, height: int = 120, width: int = 160, **flags: int) -> bytes:
    named = [v for name, value in flags.items() for v in (getattr(cv2, name), value)]
    return cv2.imencode(".jpg", draw_image(seed, height, width), named)[1].tobytes()


def with_thumbnail(encoded: bytes) -> bytes:
    """Put an EXIF segment with a small JPEG in it, end marker included, into a JPEG's header."""
    content = b"Exif\x00\x00" + jpeg(1, 16, 16)
    segment = b"\xff\xe1" + (2 + len(content)).to_bytes(2, "big") + content
    return encoded[:2] + segment + encoded[2:]


def refusals(encoded: bytes) -> list[str]:
    """What is said of a bad JPEG: decoded whole, at half its size, and by ``sjft convert``."""
    said = []
    for decode in (
        lambda: decode_image(encoded, "x"),
        lambda: decode_reduced(encoded, "x", lambda h, w: (60, 80)),
    ):
        with pytest.raises(BadImageError, match=r"^x cannot be decoded: ") as error:
            decode()
        said.append(str(error.value))
    with pytest.raises(InputError, match=r"^x cannot be decoded: ") as error:
        stored_image(encoded, "x", AS_IT_IS)
    return [*said, str(error.value)]


@pytest.mark.parametrize("thumbnail", [False, True], ids=["plain", "thumbnail"])
@pytest.mark.parametrize("form", FORMS)
def test_wherever_a_jpeg_is_cut_it_is_refused(form: str, thumbnail: bool) -> None:
    plain = jpeg(**FORMS[form])
    whole = with_thumbnail(plain) if thumbnail else plain
    np.testing.assert_array_equal(decode_image(whole, "x"), decode_image(plain, "x"))
    ends = {*range(0, len(whole) - 40, 13), *range(len(whole) - 40, len(whole))}
    with_header = 0
    for end in sorted(ends):
        said = refusals(whole[:end])
        with_header += "the JPEG is cut short, expected an end-of-image marker" in said[0]
        assert said[0] == said[1]
    assert with_header > len(ends) / 3


@pytest.mark.parametrize("form", FORMS)
def test_bytes_after_the_end_do_no_harm(form: str) -> None:
    whole = with_thumbnail(jpeg(**FORMS[form]))
    for rest in (b"\n", b"\0" * 1000, b"\xff\xd8\xff\xe1 the start of another", bytes(range(256))):
        np.testing.assert_array_equal(decode_image(whole + rest, "x"), decode_image(whole, "x"))
        assert stored_image(whole + rest, "x", AS_IT_IS).content == whole + rest
