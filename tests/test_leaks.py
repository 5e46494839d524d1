"""``sjft leaks``: disguised copies of test images are found, other images are not."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from formats_page import keys_in_tables
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.messages import Datum
from sjft_tools.exclusion import read_exclusions
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.leaks import images
from sjft_tools.leaks.search import Pair, TestImages, find_pairs
from sjft_tools.neighbour_lmdb_writer import write_neighbours

THRESHOLD = 0.85  # the command's default
TESTS, OTHERS = 8, 60


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def resized(image: np.ndarray, size: int) -> np.ndarray:
    method = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=method)


def cropped(image: np.ndarray, share: float, top: float = 0, left: float = 0) -> np.ndarray:
    """The part of `image` with `share` of its sides; `top`, `left`: 0 to 1, where it lies."""
    height, width = (round(side * share) for side in image.shape[:2])
    y, x = round((image.shape[0] - height) * top), round((image.shape[1] - width) * left)
    return image[y : y + height, x : x + width]


def brightened(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.2 + 20.0, 0, 255).astype(np.uint8)


#: name -> the bytes of a disguised copy
DISGUISES: dict[str, Callable[[np.ndarray], bytes]] = {
    "quality 30": lambda image: jpeg(image, 30),
    "32 pixels": lambda image: jpeg(resized(image, 32)),
    "64 pixels": lambda image: jpeg(resized(image, 64)),
    "256 pixels": lambda image: jpeg(resized(image, 256)),
    "corner cropped": lambda image: jpeg(cropped(image, 0.95)),
    "cropped": lambda image: jpeg(cropped(image, 0.92, 0.3, 0.8)),
    "mirrored": lambda image: jpeg(image[:, ::-1]),
    "brightened": lambda image: jpeg(brightened(image)),
    "all": lambda image: jpeg(brightened(resized(cropped(image, 0.95, 1, 1)[:, ::-1], 64)), 70),
}


def write_encoded(path: Path, contents: list[bytes], labels: list[int] | None = None) -> ImageLmdb:
    with ImageLmdbWriter(str(path)) as writer:
        for content, label in zip(contents, labels or [0] * len(contents)):
            writer.add(encoded_datum(content, label), label)
    return ImageLmdb(str(path), "source")


def unexpected(position: int, sentence: str) -> None:
    raise AssertionError(sentence)


def pairs(tests: ImageLmdb, source: ImageLmdb, threshold: float = THRESHOLD) -> list[Pair]:
    found = find_pairs(TestImages(tests, unexpected), source, threshold, unexpected)
    return list(itertools.chain.from_iterable(found))


@pytest.fixture
def tests_lmdb(tmp_path) -> ImageLmdb:
    drawn = [draw_image(i, 120, 150) for i in range(TESTS)]
    return ImageLmdb(str(write_image_lmdb(tmp_path / "tests", drawn, range(TESTS))), "test")


@pytest.mark.parametrize("disguise", list(DISGUISES))
def test_disguised_copies_are_found_and_nothing_else(tests_lmdb, tmp_path, disguise):
    others = [jpeg(draw_image(1000 + i, 60 + i, 80)) for i in range(OTHERS)]
    copies = [DISGUISES[disguise](tests_lmdb.image(i)) for i in range(TESTS)]
    source = write_encoded(tmp_path / "source", others + copies)
    found = pairs(tests_lmdb, source)
    assert [(pair.test, pair.source) for pair in found] == [(i, OTHERS + i) for i in range(TESTS)]
    assert not any(pair.is_identical for pair in found)
    assert all(pair.is_mirrored is (disguise in ("mirrored", "all")) for pair in found)


def test_the_test_image_may_be_the_crop(tmp_path):
    whole = [draw_image(i, 120, 150) for i in range(TESTS)]
    parts = [jpeg(cropped(image, 0.92, i % 3 / 2, i % 2)) for i, image in enumerate(whole)]
    tests = write_encoded(tmp_path / "tests", parts)
    source = write_encoded(tmp_path / "source", [jpeg(image) for image in whole])
    assert [pair[:2] for pair in pairs(tests, source)] == [(i, i) for i in range(TESTS)]


def test_equal_pixels_are_identical_whatever_the_encoding(tests_lmdb, tmp_path):
    image = tests_lmdb.image(2)
    raw = Datum(channels=3, height=120, width=150, label=0)
    raw.data = image.transpose(2, 0, 1).tobytes()
    floats = Datum(channels=3, height=120, width=150, label=0)
    floats.float_data.extend(image.transpose(2, 0, 1).ravel().tolist())
    one_off = image.copy()
    one_off[50, 50, 1] ^= 1
    records = [tests_lmdb.value(2), raw.SerializeToString(), floats.SerializeToString()]
    with ImageLmdbWriter(str(tmp_path / "source")) as writer:
        for record in [*records, encoded_datum(png(one_off), 0)]:
            writer.add(record, 0)
    found = pairs(tests_lmdb, ImageLmdb(str(tmp_path / "source")))
    assert [(pair.test, pair.source, pair.is_identical) for pair in found] == [
        (2, 0, True),
        (2, 1, True),
        (2, 2, True),
        (2, 3, False),
    ]
    assert all(pair.likeness > 0.999 for pair in found)


def test_uniform_images_are_compared_by_equality_alone(tmp_path):
    grey = [np.full((40, 40, 3), value, np.uint8) for value in (0, 0, 100, 255)]
    grey[1][3, 3] = 1
    tests = write_encoded(tmp_path / "tests", [png(grey[0]), jpeg(grey[2]), jpeg(draw_image(0))])
    source = write_encoded(tmp_path / "source", [png(image) for image in grey])
    found = pairs(tests, source)
    expected = [(0, 0)]
    if (tests.image(1) == 100).all():
        expected.append((1, 2))
    assert [(pair.test, pair.source) for pair in found] == expected
    assert TestImages(tests, unexpected).uniform == [0, 1]
    printed = run_sjft("leaks", tests.path, source.path)
    assert "2 test images are nearly uniform, the first is record 0" in printed


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5), (700, 40)])
def test_images_of_any_shape(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tests = write_encoded(tmp_path / "tests", [jpeg(draw_image(0)), png(image)])
    source = write_encoded(tmp_path / "source", [jpeg(draw_image(1)), png(image)])
    assert [pair[:3] for pair in pairs(tests, source)] == [(1, 1, True)]


def test_blocks_change_nothing(tests_lmdb, tmp_path, monkeypatch):
    contents = [jpeg(draw_image(1000 + i)) for i in range(150)]
    contents[::20] = [jpeg(tests_lmdb.image(i), 60) for i in range(8)]
    source = write_encoded(tmp_path / "source", contents)
    expected = pairs(tests_lmdb, source)
    assert [pair.source for pair in expected] == list(range(0, 150, 20))
    for block, task in ((1, 1), (32, 32), (96, 32), (150, 75)):
        monkeypatch.setattr(images, "BLOCK", block)
        monkeypatch.setattr(images, "_TASK", task)
        found = pairs(tests_lmdb, source)
        assert [pair[:4] for pair in found] == [pair[:4] for pair in expected]


@pytest.fixture
def leaky(tests_lmdb, tmp_path) -> ImageLmdb:
    """40 images: 7 is test image 3 itself, 11 and 12 show test image 5, 20 is no image."""
    contents = [png(draw_image(1000 + i)) for i in range(40)]
    contents[7] = png(tests_lmdb.image(3))
    contents[11] = jpeg(tests_lmdb.image(5)[:, ::-1])
    contents[12] = jpeg(resized(tests_lmdb.image(5), 64))
    contents[20] = b"no image"
    return write_encoded(tmp_path / "leaky", contents)


def test_the_command(tests_lmdb, leaky, tmp_path):
    out, table, sheet = (tmp_path / name for name in ("x.txt", "x.json", "x.png"))
    options = ("--out", out, "--json", table, "--sheet", sheet)
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, *options)
    assert "not compared: record 20 (key 0000000020) of" in printed
    assert f"1 images of {leaky.path} cannot be decoded: not compared" in printed
    assert "3 of 40 source images show 2 of 8 test images (pairs: 1 identical, 2 near)" in printed
    assert re.search("^kind +likeness +test image +source image$", printed, re.MULTILINE)
    assert f"wrote {out}: 3 images for 'sjft retrieve --exclude' to leave out" in printed
    assert read_exclusions(str(out), leaky).tolist() == [7, 11, 12]
    lines = out.read_text().splitlines()
    assert lines[1].startswith("0000000007  # the pixels of record 3 (key 0000000003) of ")
    content = json.loads(table.read_text())
    assert {*content, *content["pairs"][0]} == keys_in_tables("Leaks file")
    assert content["unreadable_source"] == [20] and content["unreadable_test"] == []
    assert content["leaked_test_images"] == 2 and content["leaking_source_images"] == 3
    shown = [(p["kind"], p["test"], p["source"], p["mirrored"]) for p in content["pairs"]]
    assert shown[0] == ("identical", 3, 7, False)
    assert sorted(shown[1:]) == [("near", 5, 11, True), ("near", 5, 12, False)]
    assert cv2.imread(str(sheet)).shape[1] == 6 * 140 + 12
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, *options, status=2)
    assert "give --force" in printed
    run_sjft("leaks", tests_lmdb.path, leaky.path, *options, "--force")
    assert json.loads(table.read_text()) == content


def test_exit_status(tests_lmdb, leaky, make_lmdb, tmp_path):
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, "--fail-on-leak", status=1)
    assert "\n--out FILE writes these source images down" in printed
    clean = make_lmdb("clean", 20, seed=3)
    options = ("--sheet", tmp_path / "no.png", "--out", tmp_path / "none.txt", "--fail-on-leak")
    printed = run_sjft("leaks", tests_lmdb.path, clean, *options)
    assert "no image of" in printed and "was not written: there is no pair to draw" in printed
    assert read_exclusions(str(tmp_path / "none.txt"), ImageLmdb(clean)).size == 0
    assert not (tmp_path / "no.png").exists()


def test_near_descriptors(tests_lmdb, leaky, tmp_path):
    indices = np.tile(np.arange(30), (TESTS, 1))
    distances = np.tile(np.linspace(1, 2, 30, dtype=np.float32), (TESTS, 1))
    indices[3, 0], indices[3, 7] = 7, 0  # 7 is identical to 3 and near it
    distances[3, 0] = 0.1
    distances[6, :2] = 0.4, 0.8
    path = str(tmp_path / "neighbours")
    write_neighbours(path, tests_lmdb, leaky, indices, distances, {})
    table = tmp_path / "x.json"
    options = ("--neighbours", path, "--json", table, "--out", tmp_path / "x.txt")
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, *options)
    assert "(pairs: 1 identical, 2 near, 1 descriptor)" in printed
    assert re.search("^kind +likeness +distance +test image", printed, re.MULTILINE)
    found = json.loads(table.read_text())["pairs"]
    twentieth = float(distances[0, 19])
    assert found[0]["kind"] == "identical" and found[0]["distance"] == pytest.approx(0.1)
    assert (found[3]["kind"], found[3]["test"], found[3]["source"]) == ("descriptor", 6, 0)
    assert found[3]["likeness"] is None and found[3]["ratio"] == pytest.approx(0.4 / twentieth)
    assert read_exclusions(str(tmp_path / "x.txt"), leaky).tolist() == [0, 7, 11, 12]
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, "--neighbours", path, "--ratio", 0.6)
    assert "2 descriptor" in printed

    few = str(tmp_path / "few")
    write_neighbours(few, tests_lmdb, leaky, indices[:, :19], distances[:, :19], {})
    printed = run_sjft("leaks", tests_lmdb.path, leaky.path, "--neighbours", few, status=2)
    assert "holds 19 neighbours per image: expected at least 20" in printed


def test_bad_input(tests_lmdb, leaky, tmp_path):
    one_file = ("--out", tmp_path / "leaks", "--json", tmp_path / "leaks", "--force")
    cases = [
        ((tests_lmdb.path, tmp_path / "no"), "the source LMDB"),
        ((tmp_path / "no", leaky.path), "the test LMDB"),
        ((leaky.path, leaky.path), "hold the same images"),
        ((tests_lmdb.path, leaky.path, "--sheet", tmp_path / "x.jpg"), "must end in .png"),
        ((tests_lmdb.path, leaky.path, *one_file), "two outputs have one name"),
        ((tests_lmdb.path, leaky.path, "--threshold", 1.5), "expected a number above 0"),
        ((tests_lmdb.path, leaky.path, "--neighbours", leaky.path), "as the neighbour LMDB"),
    ]
    for arguments, message in cases:
        printed = run_sjft("leaks", *arguments, status=2)
        assert message in printed and "Traceback" not in printed
    nothing = write_encoded(tmp_path / "nothing", [b"x"] * 120)
    with pytest.raises(InputError, match=r"none of the first 1\d\d images"):
        list(find_pairs(TestImages(tests_lmdb, unexpected), nothing, 0.8, lambda i, s: None))
    with pytest.raises(InputError, match="can be decoded"):
        TestImages(nothing, lambda i, s: None)


def test_photographs(shared_data, tmp_path):
    """Disguised flowers among other flowers: 98 % and more are found, and no other is taken."""
    folder = shared_data / "target_oxford17_flowers"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    flowers = {
        split: [cv2.imread(str(folder / row["path"])) for row in rows if row["split"] == split]
        for split in ("train", "test")
    }
    chosen = flowers["test"][::8]
    tests = write_encoded(tmp_path / "tests", [png(image) for image in chosen])
    others = [jpeg(image, 95) for image in flowers["train"][::4]]
    contents = others + [make(image) for make in DISGUISES.values() for image in chosen]
    source = write_encoded(tmp_path / "source", contents)
    found = pairs(tests, source)
    among_others = [pair for pair in found if pair.source < len(others)]
    copies = [pair for pair in found if pair.source >= len(others)]
    assert {(pair.source - len(others)) % len(chosen) - pair.test for pair in copies} == {0}
    assert len(copies) >= 0.98 * len(chosen) * len(DISGUISES)
    # the two sets do share photographs; every pair found was looked at
    assert len(among_others) <= 4 and all(pair.likeness > 0.9 for pair in among_others)
