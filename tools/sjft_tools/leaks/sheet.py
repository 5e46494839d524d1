"""The contact sheet: test images beside the source images that seem to show the same."""

from __future__ import annotations

from collections.abc import Sequence

from sjft.image_lmdb import ImageLmdb
from sjft_tools.gallery import Tile, class_of, draw_gallery
from sjft_tools.leaks.findings import Finding

_PAIRS_A_ROW = 3
#: More would make a picture of over 32,000 pixels, which few viewers open.
MOST_PAIRS = 200 * _PAIRS_A_ROW


def draw_sheet(found: Sequence[Finding], tests: ImageLmdb, source: ImageLmdb, path: str) -> None:
    """Draw the first MOST_PAIRS of `found`, at least one, into the PNG `path`."""
    tiles: list[Tile] = []
    for one in found[:MOST_PAIRS]:
        test = [class_of(tests, one.test), f"test {one.test}"]
        measure = f"{one.likeness:.3f}" if one.likeness is not None else f"{one.ratio:.2f}"
        hand = "mirrored" if one.is_mirrored else one.kind
        caption = [f"{hand} {measure}", f"source {one.source}"]
        tiles += [Tile(tests.image(one.test), test), Tile(source.image(one.source), caption)]
    per_row = 2 * min(_PAIRS_A_ROW, len(tiles) // 2)
    rows = [tiles[at : at + per_row] for at in range(0, len(tiles), per_row)]
    draw_gallery(rows, ["test image", "source image"] * (per_row // 2), path)
