"""sjft convert from Caltech-256: all 30,607 images, split by --per-class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from conftest import run_sjft
from published_sets import numbers_in, numbers_of, picture, read_form, tar_bytes, write_tree
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


@pytest.fixture(scope="module")
def caltech(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("caltech")
    sizes = [80] * 256 + [827]
    for i in range(30_607 - sum(sizes)):
        sizes[i % 255] += 1
    paths = []
    for number, size in enumerate(sizes, 1):
        name = "257.clutter" if number == 257 else f"{number:03d}.thing-{number}"
        paths += [f"{name}/{number:03d}_{i:04d}.jpg" for i in range(1, size + 1)]
    files = [(f"256_ObjectCategories/{path}", picture(i)) for i, path in enumerate(paths)]
    files.append(("256_ObjectCategories/198.thing-198/RENAME2", b"#!/bin/sh"))
    files.append(("256_ObjectCategories/056.thing-56/greg/056_0001.jpg", picture(0)))
    (folder / "256_ObjectCategories.tar").write_bytes(tar_bytes(files))
    return folder, {path.split("/")[1]: i for i, path in enumerate(paths)}


def test_caltech256(caltech, tmp_path):
    folder, numbers = caltech
    out = tmp_path / "out"
    arguments = ("convert", "caltech256", folder, out, "--split", "train", "--per-class", 15)
    assert f"wrote {256 * 15} images, 256 classes (labels 0 to 255)" in run_sjft(*arguments)
    images = ImageLmdb(str(out))
    assert Counter(images.labels.tolist()) == dict.fromkeys(range(256), 15)
    assert images.class_names[0] == "thing-1" and len(images.class_names) == 256
    sets = {}
    for split, k in (("train", 15), ("train", 45), ("train", 60), ("test", 60)):
        read = read_form("caltech256", folder, "--split", split, "--per-class", k)
        sets[split, k] = set(numbers_of(read, numbers))
    assert not sets["train", 60] & sets["test", 60]
    # all but the 827 of clutter
    assert len(sets["train", 60] | sets["test", 60]) == 30_607 - 827
    assert set(numbers_in(out)) == sets["train", 15]
    assert sets["train", 15] < sets["train", 45] < sets["train", 60]


def test_caltech256_with_tests_of_a_fixed_number_clutter_and_seeds(caltech):
    folder, numbers = caltech
    arguments = ("caltech256", folder, "--test-per-class", 20)
    tests = []
    for k, seed in ((15, 0), (60, 0), (60, 1)):
        options = ("--split", "test", "--per-class", k, "--seed", seed)
        tests.append(numbers_of(read_form(*arguments, *options), numbers))
    assert tests[0] == tests[1] != tests[2] and len(tests[0]) == 256 * 20
    cluttered = read_form(*arguments, "--split", "test", "--per-class", 60, "--clutter")
    assert len(cluttered.entries) == 257 * 20 and cluttered.entries[-1].label == 256
    assert cluttered.class_names[256] == "clutter"
    with pytest.raises(InputError, match=r"has 80 images: expected at least --per-class 61 and"):
        read_form(*arguments, "--split", "train", "--per-class", 61)
    with pytest.raises(InputError, match=r"has 80 images: expected more than --per-class 80$"):
        read_form("caltech256", folder, "--split", "train", "--per-class", 80)


def test_caltech256_with_folders_missing_or_doubled(tmp_path):
    tree = tmp_path / "256_ObjectCategories"
    options = ("--split", "train", "--per-class", 1, "--incomplete")
    write_tree(tree, [("readme.txt", b"")])
    with pytest.raises(InputError, match="holds no images of Caltech-256"):
        read_form("caltech256", tmp_path, *options)
    write_tree(tree, [(f"003.ä b/003_000{i}.jpg", picture(i)) for i in (1, 2)])
    images = read_form("caltech256", tmp_path, *options)
    assert images.class_names == ["", "", "ä b"] and images.entries[0].label == 2
    with pytest.raises(InputError, match=r"found 1 folders in .*, published are 257"):
        read_form("caltech256", tmp_path, *options[:-1])
    write_tree(tree, [("003.c/003_0003.jpg", picture(3))])
    with pytest.raises(InputError, match=r"holds the folders 003.* and 003.*: expected one"):
        read_form("caltech256", tmp_path, *options)
