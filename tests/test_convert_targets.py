"""sjft convert from the published target sets, full-sized where lists allow, small elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from conftest import run_sjft
from published_sets import (
    cells,
    mat_bytes,
    numbers_in,
    numbers_of,
    picture,
    read_form,
    tar_bytes,
    write_tree,
)
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb

# ---- Oxford Flowers 102, by the official .mat files


@pytest.fixture(scope="module")
def flowers(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flowers")
    for name in ("imagelabels.mat", "setid.mat"):
        (folder / name).write_bytes((shared_data / "meta" / "oxford102" / name).read_bytes())
    files = [(f"jpg/image_{i:05d}.jpg", picture(i)) for i in range(1, 8190)]
    (folder / "102flowers.tgz").write_bytes(tar_bytes(files, "w:gz"))
    return folder


@pytest.mark.parametrize(
    ("split", "variable", "count"),
    [("train", "trnid", 1020), ("val", "valid", 1020), ("test", "tstid", 6149)],
)
def test_flowers102(flowers, tmp_path, split, variable, count):
    out = tmp_path / "out"
    printed = run_sjft("convert", "flowers102", flowers, out, "--split", split)
    assert f"wrote {count} images, 102 classes (labels 0 to 101)" in printed
    numbers = loadmat(flowers / "setid.mat")[variable][0]
    labels = loadmat(flowers / "imagelabels.mat")["labels"][0]
    assert numbers_in(out) == numbers.tolist()
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == (labels[numbers - 1].astype(int) - 1).tolist()
    # image_06765.jpg, the first of trnid, is a passion flower: label 77 from 1
    assert images.class_names[76] == "passion flower" and len(set(images.class_names)) == 102
    assert os.listdir(tmp_path) == ["out"]


def test_flowers102_train_and_val_together(flowers):
    images = read_form("flowers102", flowers, "--split", "trainval")
    assert Counter(entry.label for entry in images.entries) == dict.fromkeys(range(102), 20)


def test_flowers102_with_an_image_missing(flowers, tmp_path, capfd):
    for name in ("imagelabels.mat", "setid.mat"):
        (tmp_path / name).symlink_to(flowers / name)
    write_tree(tmp_path / "jpg", [(f"image_{i:05d}.jpg", picture(i)) for i in range(2, 8190)])
    split = next(
        s
        for s, v in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
        if 1 in loadmat(flowers / "setid.mat")[v][0]
    )
    with pytest.raises(InputError, match=r"jpg lacks 1 of the .* the first image_00001.jpg"):
        read_form("flowers102", tmp_path, "--split", split)
    assert "missing: image_00001.jpg" in capfd.readouterr().err
    complete = read_form("flowers102", flowers, "--split", split)
    rest = read_form("flowers102", tmp_path, "--split", split, "--incomplete")
    assert len(rest.entries) == len(complete.entries) - 1


def test_a_few_of_the_flowers(flowers, tmp_path):
    """Any image of the list tells in which folder the images are, however few are there."""
    for name in ("imagelabels.mat", "setid.mat"):
        (tmp_path / name).symlink_to(flowers / name)
    numbers = loadmat(flowers / "setid.mat")["tstid"][0][[7, 100]].tolist()
    images = [(f"jpg/image_{i:05d}.jpg", picture(i)) for i in numbers]
    (tmp_path / "102flowers.tgz").write_bytes(tar_bytes(images))
    few = read_form("flowers102", tmp_path, "--split", "test", "--incomplete")
    assert [entry.path[-9:-4] for entry in few.entries] == [f"{i:05d}" for i in numbers]


# ---- MIT Indoor 67, by the official lists


@pytest.fixture(scope="module")
def indoor(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("indoor")
    paths = []
    for name in ("TrainImages.txt", "TestImages.txt"):
        text = (shared_data / "meta" / "mit67" / name).read_text()
        (folder / name).write_text(text)
        paths += text.split("\n")
    files = [(f"Images/{path}", picture(i)) for i, path in enumerate(paths)]
    (folder / "indoorCVPR_09.tar").write_bytes(tar_bytes(files))
    return folder


def test_mit67(indoor, tmp_path):
    out = tmp_path / "out"
    printed = run_sjft("convert", "mit67", indoor, out, "--split", "train")
    assert "wrote 5360 images, 67 classes (labels 0 to 66)" in printed
    assert numbers_in(out) == list(range(5360))
    test = tmp_path / "test"
    printed = run_sjft("convert", "mit67", indoor, test, "--split", "test")
    assert "wrote 1340 images, 67 classes (labels 0 to 66)" in printed
    assert numbers_in(test) == list(range(5360, 6700))
    images = ImageLmdb(str(out))
    assert images.class_names == ImageLmdb(str(test)).class_names == sorted(images.class_names)
    first = (indoor / "TrainImages.txt").read_text().split("/")[0]
    assert images.class_names[images.labels[0]] == first


def test_mit67_with_other_spellings_and_a_missing_image(indoor, tmp_path, capfd):
    lists = ("TrainImages.txt", "TestImages.txt")
    for name in lists:
        (tmp_path / name).symlink_to(indoor / name)
    paths = [line for name in lists for line in (indoor / name).read_text().split("\n")]
    respelt = paths[0].upper()
    files = [(f"Images/{path}", picture(0)) for path in [respelt, *paths[2:]]]
    (tmp_path / "indoorCVPR_09.tar").write_bytes(tar_bytes(files))
    with pytest.raises(InputError, match=f"lacks 1 of the 5,360 .* the first {paths[1]}"):
        read_form("mit67", tmp_path, "--split", "train")
    printed = capfd.readouterr().err
    assert f"differs from the file's name in the case of letters: {paths[0]}" in printed
    assert f"missing: {paths[1]}" in printed
    images = read_form("mit67", tmp_path, "--split", "train", "--incomplete")
    assert len(images.entries) == 5359
    assert images.entries[0].path.endswith(f"/Images/{respelt}")


# ---- Stanford Dogs, full-sized lists of our own


def dogs_lists() -> tuple[dict[str, list[str]], dict[str, list[int]]]:
    paths: dict[str, list[str]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for breed in range(120):
        folder = f"n{2085620 + 100 * breed:08d}-Breed_{breed}-x"
        for i in range(100 + 71 + (breed < 60)):
            split = "train" if i < 100 else "test"
            paths[split].append(f"{folder}/{folder[:9]}_{i}.jpg")
            labels[split].append(breed + 1)
    return paths, labels


@pytest.fixture(scope="module")
def dogs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dogs")
    paths, labels = dogs_lists()
    lists = []
    for split in paths:
        content = mat_bytes(
            file_list=cells(paths[split]),
            annotation_list=cells([path[:-4] for path in paths[split]]),
            labels=np.array(labels[split], float)[:, None],
        )
        lists.append((f"{split}_list.mat", content))
    (folder / "lists.tar").write_bytes(tar_bytes([(f"./{name}", data) for name, data in lists]))
    both = paths["train"] + paths["test"]
    files = [(f"Images/{path}", picture(i)) for i, path in enumerate(both)]
    (folder / "images.tar").write_bytes(tar_bytes(files))
    return folder


def test_stanford_dogs(dogs, tmp_path):
    out = tmp_path / "out"
    printed = run_sjft("convert", "stanford-dogs", dogs, out, "--split", "test")
    assert "wrote 8580 images, 120 classes (labels 0 to 119)" in printed
    assert numbers_in(out) == list(range(12_000, 20_580))
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [label - 1 for label in dogs_lists()[1]["test"]]
    assert images.class_names[7] == "Breed_7-x"
    train = read_form("stanford-dogs", dogs, "--split", "train")
    assert len(train.entries) == 12_000 and train.class_names == images.class_names


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"labels": np.ones((2, 1))}, "holds labels: expected the variable file_list"),
        ({"file_list": cells(["a/a.jpg", "b/b.jpg"])}, "expected the variable labels"),
        (
            {"file_list": cells(["a/a.jpg", "b/b.jpg"]), "labels": np.array([[0], [1]])},
            "train_list.mat holds 0 at position 1: expected integers 1 to 120",
        ),
        (
            {"file_list": cells(["a/a.jpg", "b/b.jpg"]), "labels": np.array([[1], [1.5]])},
            "holds 1.5 at position 2",
        ),
        (
            {"file_list": cells(["a/a.jpg", "b/b.jpg"]), "labels": np.array([[1], [1]])},
            "gives the label 1 to a and to b: expected one folder per label",
        ),
        (
            {"file_list": cells(["a/a.jpg"]), "labels": np.array([[1], [1]])},
            "holds 1 files and 2 labels",
        ),
        (
            {"file_list": np.ones((1, 1)), "labels": np.ones((1, 1))},
            "file_list in .* holds .*: expected texts",
        ),
        (
            {"file_list": cells(["a/a.jpg", "a/a.jpg"]), "labels": np.array([[1], [1]])},
            "has 1 images more than once, the first a/a.jpg: expected each once",
        ),
    ],
)
def test_bad_mat_files(tmp_path, variables, message):
    write_tree(tmp_path, [("lists/train_list.mat", mat_bytes(**variables))])
    write_tree(tmp_path, [("Images/a/a.jpg", picture(0))])
    with pytest.raises(InputError, match=message):
        read_form("stanford-dogs", tmp_path, "--split", "train", "--incomplete")


def test_files_that_are_no_mat_files(tmp_path, dogs):
    good = mat_bytes(file_list=cells(["a/a.jpg"] * 200), labels=np.ones((200, 1)))
    hdf5 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 384 + b"\x89HDF\r\n\x1a\n"
    for content, message in (
        (b"", "cannot be read as a .mat file"),
        (b"<html>not found</html>" * 20, "cannot be read as a .mat file"),
        (good[: len(good) // 2], "train_list.mat cannot be read as a .mat file"),
        (hdf5, "is a .mat file of version 7.3: expected the published one"),
    ):
        (tmp_path / "train_list.mat").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_form("stanford-dogs", tmp_path, "--split", "train")


def test_counts_that_differ(tmp_path):
    lists = mat_bytes(file_list=cells(["a-x/a.jpg"]), labels=np.ones((1, 1)))
    write_tree(tmp_path, [("train_list.mat", lists), ("Images/a-x/a.jpg", picture(0))])
    arguments = ("convert", "stanford-dogs", tmp_path, tmp_path.parent / "dogs", "--split", "train")
    printed = run_sjft(*arguments, status=2)
    assert "sjft convert: error: found 1 images in " in printed
    assert "published are 12,000: expected all; give --incomplete" in printed
    printed = run_sjft(*arguments, "--incomplete")
    assert "found 1 images in" in printed and "wrote 1 images" in printed


# ---- Caltech-256, all 30,607 images


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
