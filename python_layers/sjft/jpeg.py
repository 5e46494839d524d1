"""What a JPEG says before it is decoded: its size, its end, how much smaller it may be decoded."""

from __future__ import annotations

#: The factors by which JPEGs can be decoded smaller, at a fraction of the cost.
REDUCTIONS = (8, 4, 2)

_START = b"\xff\xd8"
_END = b"\xff\xd9"
# Start of frame: C0 to CF, but for the Huffman table, an unused one and the arithmetic conditioning
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset([0x01, *range(0xD0, 0xD8)])


def jpeg_shape(encoded: bytes) -> tuple[int, int] | None:
    """Return (height, width) that a JPEG's header states, before any EXIF rotation.

    None if `encoded` is no JPEG, or a damaged one of which the decoder is to judge.
    """
    at = _frame_header(encoded)
    if at is None:
        return None
    height = int.from_bytes(encoded[at + 5 : at + 7], "big")
    width = int.from_bytes(encoded[at + 7 : at + 9], "big")
    return (height, width) if height and width else None


def is_cut_short(encoded: bytes) -> bool:
    """Tell whether a JPEG has no end-of-image marker behind its header; False if it is no JPEG.

    One within the header, a thumbnail's, does not count; bytes after the marker do no harm.
    """
    at = _frame_header(encoded)
    return at is not None and encoded.rfind(_END, at) < 0


def _frame_header(encoded: bytes) -> int | None:
    """Return where the frame header of a JPEG begins, of which at least 9 bytes are there."""
    if encoded[:2] != _START:
        return None
    at = 2
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _FRAMES:
            return at
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None


def reduced_shape(height: int, width: int, reduction: int) -> tuple[int, int]:
    """Return the (height, width) at which a JPEG is decoded at 1 / `reduction` of its size."""
    return -(-height // reduction), -(-width // reduction)


def largest_reduction(height: int, width: int, least: tuple[int, int]) -> int:
    """Return the largest of 8, 4, 2, 1 that leaves an image no smaller than `least`.

    `height`, `width`: of the whole image; `least`: (height, width), all in pixels.
    """
    for reduction in REDUCTIONS:
        h, w = reduced_shape(height, width, reduction)
        if h >= least[0] and w >= least[1]:
            return reduction
    return 1
