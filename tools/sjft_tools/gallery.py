"""Pictures of target images beside some of their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.figures import literal, new_figure
from sjft_tools.image_sets.class_names import class_name

TILE = 128  # pixels
_GAP = 12
_CAPTION = 34  # two lines below each tile
_HEADER = 26
_LETTERS = 21  # of the caption's font in a tile's width


class Tile(NamedTuple):
    """A picture, H x W x 3 uint8 BGR, and the lines below it."""

    image: np.ndarray
    caption: list[str]


def choose_targets(labels: np.ndarray, n: int) -> list[int]:
    """Return the positions of `n` images (all, if there are fewer), spread evenly over the classes.

    `labels`: int (N,). One image of each class, of classes at even steps if `n` is less than their
    number; otherwise the first images of every class in turn.
    """
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    if n < len(starts):
        return [int(order[starts[i * len(starts) // n]]) for i in range(n)]
    place_in_class = np.empty(len(labels), np.int64)
    ends = np.append(starts[1:], len(labels))
    for start, end in zip(starts, ends):
        place_in_class[order[start:end]] = np.arange(end - start)
    in_turn = np.lexsort((labels, place_in_class))
    return sorted(in_turn[:n].tolist(), key=lambda i: (int(labels[i]), i))


def gallery_row(
    target: ImageLmdb, source: ImageLmdb, neighbours: NeighbourLmdb, i: int, ranks: Sequence[int]
) -> list[Tile]:
    """Return target image `i` and its neighbours of `ranks`, counted from 1, as tiles."""
    indices, distances = neighbours.indices(i), neighbours.distances(i)
    row = [Tile(target.image(i), [class_of(target, i), f"image {i}"])]
    for rank in ranks:
        j = int(indices[rank - 1])
        if not 0 <= j < source.count:
            raise InputError(
                f"{neighbours.name(i)} names the source image {j}, but {source.path} has "
                f"{source.count}: run 'sjft retrieve' again"
            )
        caption = [class_of(source, j), f"distance {distances[rank - 1]:#.4g}"]
        row.append(Tile(source.image(j), caption))
    return row


def class_of(images: ImageLmdb, i: int) -> str:
    """Return the name of an image's class, cut to what fits below a tile."""
    return shortened(class_name(images.class_names, int(images.labels[i])))


def shortened(words: str) -> str:
    """Return `words` cut to what fits below a tile."""
    return words if len(words) <= _LETTERS else words[: _LETTERS - 1] + "…"


def fitted(image: np.ndarray) -> np.ndarray:
    """Return `image`, H x W x 3 uint8, scaled to fill a square of TILE pixels, on white.

    A small image is enlarged a whole number of times, so that its pixels stay squares.
    """
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    if scale >= 2:
        scale = int(scale)
        method = cv2.INTER_NEAREST
    else:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, size, interpolation=method)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    top, left = (TILE - image.shape[0]) // 2, (TILE - image.shape[1]) // 2
    tile[top : top + image.shape[0], left : left + image.shape[1]] = image
    return tile


def ordinal(rank: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, 11th, 21st and so on."""
    if rank % 100 in (11, 12, 13):
        return f"{rank}th"
    return f"{rank}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th') }"


def draw_gallery(rows: Sequence[Sequence[Tile]], header: Sequence[str], path: str) -> None:
    """Draw one row of tiles per target image, below the words of `header`, into the PNG `path`."""
    width = len(header) * (TILE + _GAP) + _GAP
    height = _HEADER + len(rows) * (TILE + _CAPTION) + _GAP
    figure = new_figure(width, height)
    for column, words in enumerate(header):
        _write(figure, words, column * (TILE + _GAP) + _GAP, 6, bold=True)
    canvas = np.full((height, width, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        top = _HEADER + r * (TILE + _CAPTION)
        for column, tile in enumerate(row):
            left = column * (TILE + _GAP) + _GAP
            canvas[top : top + TILE, left : left + TILE] = fitted(tile.image)
            for line, words in enumerate(tile.caption):
                _write(figure, words, left, top + TILE + 2 + 14 * line, bold=False)
    figure.figimage(canvas[:, :, ::-1])
    figure.savefig(path, format="png")


def _write(figure: Any, words: str, left: int, top: int, bold: bool) -> None:
    """Write `words` with the upper left corner at pixel (left, top)."""
    width, height = figure.get_size_inches() * figure.dpi
    figure.text(
        left / width,
        1 - top / height,
        literal(words),
        fontsize=7.5,
        fontweight="bold" if bold else "normal",
        verticalalignment="top",
    )
