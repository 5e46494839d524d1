"""``sjft gallery``: the picture holds the images that it says, and bad input is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.gallery import (
    TILE,
    Tile,
    choose_targets,
    draw_gallery,
    fitted,
    gallery_row,
    ordinal,
)
from sjft_tools.neighbour_lmdb_writer import write_neighbours

TARGETS, SOURCES, K = 12, 60, 45


class World(NamedTuple):
    folder: Path
    target: Path
    source: Path
    neighbours: Path
    indices: np.ndarray


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(1)
    targets = [draw_image(i, 32, 32) for i in range(TARGETS)]
    names = ["Gänseblümchen", "a$b$ {x}_^", "a very long name of a class of images"]
    target = write_image_lmdb(folder / "target", targets, [i % 3 for i in range(TARGETS)], names)
    sources = [draw_image(100 + i, *rng.integers(20, 300, 2).tolist()) for i in range(SOURCES)]
    source = write_image_lmdb(folder / "source", sources, [i % 7 for i in range(SOURCES)])
    indices = np.stack([rng.permutation(SOURCES)[:K] for _ in range(TARGETS)])
    distances = np.sort(rng.random((TARGETS, K)).astype(np.float32), axis=1)
    target_lmdb, source_lmdb = ImageLmdb(str(target)), ImageLmdb(str(source))
    path = folder / "neighbours"
    write_neighbours(str(path), target_lmdb, source_lmdb, indices, distances, {"bank": "none"})
    return World(folder, target, source, path, indices)


def tiles(picture: Path, row: int, columns: int) -> list[np.ndarray]:
    image = cv2.imread(str(picture))
    top = 26 + row * (TILE + 34)
    lefts = [12 + column * (TILE + 12) for column in range(columns)]
    return [image[top : top + TILE, left : left + TILE] for left in lefts]


def test_the_picture_shows_targets_and_their_neighbours(world, tmp_path):
    out = tmp_path / "out.png"
    printed = run_sjft("gallery", world.neighbours, out, "--targets", 5)
    assert f"drew 5 target images and 5 neighbours of each: {out}" in printed
    target, source = ImageLmdb(str(world.target)), ImageLmdb(str(world.source))
    chosen = choose_targets(target.labels, 5)
    for row, i in enumerate(chosen):
        shown = tiles(out, row, 6)
        np.testing.assert_array_equal(shown[0], fitted(target.image(i)))
        for picture, rank in zip(shown[1:], (1, 10, 20, 30, 40)):
            expected = fitted(source.image(int(world.indices[i, rank - 1])))
            np.testing.assert_array_equal(picture, expected)


def test_chosen_targets_and_ranks(world, tmp_path):
    out = tmp_path / "out.png"
    run_sjft("gallery", world.neighbours, out, "--indices", 11, 2, "--ranks", 45, 2)
    target, source = ImageLmdb(str(world.target)), ImageLmdb(str(world.source))
    shown = tiles(out, 1, 3)
    np.testing.assert_array_equal(shown[0], fitted(target.image(2)))
    np.testing.assert_array_equal(shown[1], fitted(source.image(int(world.indices[2, 44]))))
    np.testing.assert_array_equal(shown[2], fitted(source.image(int(world.indices[2, 1]))))


def test_captions(world):
    target, source = ImageLmdb(str(world.target)), ImageLmdb(str(world.source))
    neighbours = NeighbourLmdb(str(world.neighbours))
    row = gallery_row(target, source, neighbours, 2, (1, 10))
    assert row[0].caption == ["a very long name of …", "image 2"]
    assert row[1].caption[0] == f"class {world.indices[2, 0] % 7}"
    assert row[1].caption[1] == f"distance {neighbours.distances(2)[0]:#.4g}"
    assert gallery_row(target, source, neighbours, 0, (1,))[0].caption[0] == "Gänseblümchen"


def test_captions_are_drawn_below_their_tile(tmp_path):
    """Two lines of ink below the tile, whatever the letters, and none elsewhere."""
    blank = np.full((32, 32, 3), 255, np.uint8)
    draw_gallery([[Tile(blank, ["$x_", "Ünï"])]], ["target"], str(tmp_path / "out.png"))
    image = cv2.imread(str(tmp_path / "out.png"))
    assert image.shape == (26 + TILE + 34 + 12, TILE + 2 * 12, 3)
    ink = (image < 128).any(axis=(1, 2))
    assert ink[4:22].any() and not ink[26 : 26 + TILE].any()
    below = ink[26 + TILE :]
    assert below[:16].any() and below[16:32].any() and not below[34:].any()


def test_only_retrieved_ranks_are_drawn(world, tmp_path):
    target, source = ImageLmdb(str(world.target)), ImageLmdb(str(world.source))
    distances = np.zeros((TARGETS, 12), np.float32)
    few = str(tmp_path / "few")
    write_neighbours(few, target, source, world.indices[:, :12], distances, {})
    printed = run_sjft("gallery", few, tmp_path / "out.png")
    assert "drew 8 target images and 2 neighbours of each" in printed
    assert cv2.imread(str(tmp_path / "out.png")).shape[1] == 3 * (TILE + 12) + 12
    printed = run_sjft("gallery", few, tmp_path / "2.png", "--ranks", 13, status=2)
    assert "--ranks asks for neighbour 13, but" in printed and "holds the first 12" in printed


@pytest.mark.parametrize("n", [1, 3, 5, 9, 10, 11, 24, 25, 1000])
def test_targets_are_spread_over_the_classes(n):
    labels = np.array([3] * 2 + [9] * 13 + [0] * 9 + [1])
    chosen = choose_targets(labels, n)
    assert len(set(chosen)) == len(chosen) == min(n, 25)
    counts = np.bincount(labels[chosen], minlength=10)[[0, 1, 3, 9]]
    assert counts.max() - min(counts.min() + 1, 1) <= max(1, -(-n // 2))
    if n >= 4:
        assert counts.min() >= 1
    assert labels[chosen].tolist() == sorted(labels[chosen])


def test_many_classes_are_sampled_evenly():
    labels = np.arange(100)[::-1]
    assert labels[choose_targets(labels, 5)].tolist() == [0, 20, 40, 60, 80]


@pytest.mark.parametrize(
    "shape", [(1, 1), (8, 8), (30, 64), (65, 64), (128, 90), (500, 3), (3, 999)]
)
def test_images_of_any_size_fill_a_tile(shape):
    image = np.zeros((*shape, 3), np.uint8)
    tile = fitted(image)
    assert tile.shape == (TILE, TILE, 3)
    ink = np.argwhere((tile < 128).all(axis=2))
    spans = ink.max(axis=0) - ink.min(axis=0) + 1
    assert spans.max() > TILE / 2
    np.testing.assert_allclose(
        np.maximum(1, max(spans) * np.array(shape) / max(shape)), spans, atol=1
    )


def test_small_images_keep_square_pixels():
    image = draw_image(3, 32, 32)
    np.testing.assert_array_equal(fitted(image), image.repeat(4, axis=0).repeat(4, axis=1))


def test_ordinals():
    words = [ordinal(n) for n in (1, 2, 3, 4, 10, 11, 12, 13, 21, 111, 122)]
    assert words == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "10th",
        "11th",
        "12th",
        "13th",
        "21st",
        "111th",
        "122nd",
    ]


def test_moved_images_are_named_by_options(world, tmp_path):
    away = tmp_path / "away"
    os.rename(world.source, away)
    try:
        printed = run_sjft("gallery", world.neighbours, tmp_path / "out.png", status=2)
        assert f"the source LMDB is not at '{world.source}'" in printed
        assert "name it by --source" in printed
        run_sjft("gallery", world.neighbours, tmp_path / "out.png", "--source", away)
    finally:
        os.rename(away, world.source)


def test_bad_input(world, tmp_path):
    out = tmp_path / "out.png"
    (tmp_path / "exists.png").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    cases = [
        ((tmp_path / "no", out), "the neighbour LMDB"),
        ((world.target, out), "is not usable as the neighbour LMDB"),
        ((world.neighbours, tmp_path / "exists.png"), "give --force to replace it"),
        ((world.neighbours, tmp_path / "folder.png", "--force"), "is a folder: expected the name"),
        ((world.neighbours, tmp_path / "out.jpg"), "must end in .png"),
        ((world.neighbours, out, "--target", world.source), "computed for another target LMDB"),
        ((world.neighbours, out, "--source", world.target), "computed for another source LMDB"),
        (
            (world.neighbours, out, "--source", world.target, "--target", world.source),
            "target and source are swapped",
        ),
        ((world.neighbours, out, "--indices", 0, 12), "asks for image 12, but"),
        ((world.neighbours, out, "--indices", *[0] * 201), "201 target images do not fit"),
        ((world.neighbours, out, "--ranks", 0), "expected an integer >= 1"),
    ]
    for arguments, message in cases:
        printed = run_sjft("gallery", *arguments, status=2)
        assert message in printed and "Traceback" not in printed
    assert sorted(os.listdir(tmp_path)) == ["exists.png", "folder.png"]
    assert (tmp_path / "exists.png").read_text() == "mine"
