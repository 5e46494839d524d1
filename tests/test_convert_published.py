"""sjft convert from the published data sets: full-sized where lists allow, small ones elsewhere."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from conftest import run_sjft
from published_sets import (
    cells,
    convert_form,
    devkit_meta,
    mat_bytes,
    numbers_in,
    numbers_of,
    picture,
    read_form,
    record_count,
    tar_bytes,
    write_tree,
    write_zip,
)
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.checks.report import Report
from sjft_tools.checks.solver import check_solver


def side_file(path: Path) -> dict:
    return json.loads((path / "sjft.json").read_text(encoding="utf-8"))


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
            "names 1 images twice",
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


# ---- ImageNet, small

WNIDS = ["n01440764", "n01443537", "n01484850"]
#: in the order of ILSVRC2012_ID, which is not that of the WordNet ids
BY_ID = [WNIDS[2], WNIDS[0], WNIDS[1]]
WORDS = {WNIDS[0]: "tench, Tinca tinca", WNIDS[1]: "goldfish", WNIDS[2]: "great white shark"}
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def devkit(ids: list[int]) -> list[tuple[str, bytes]]:
    top = "ILSVRC2012_devkit_t12/data"
    return [
        (f"{top}/meta.mat", devkit_meta(BY_ID, [WORDS[wnid] for wnid in BY_ID])),
        (f"{top}/{TRUTH}", "".join(f"{i}\n" for i in ids).encode()),
    ]


def val_images(count: int) -> list[tuple[str, bytes]]:
    return [(f"ILSVRC2012_val_{i:08d}.JPEG", picture(i)) for i in range(1, count + 1)]


@pytest.fixture
def imagenet(tmp_path) -> Path:
    folder = tmp_path / "imagenet"
    inner = []
    for label in (2, 0, 1):  # in no order
        files = [(f"{WNIDS[label]}_{i}.JPEG", picture(10 * label + i)) for i in (2, 1)]
        inner.append((f"{WNIDS[label]}.tar", tar_bytes(files)))
    write_tree(
        folder,
        [
            ("ILSVRC2012_img_train.tar", tar_bytes(inner)),
            ("ILSVRC2012_img_val.tar", tar_bytes(val_images(4))),
            ("ILSVRC2012_devkit_t12.tar.gz", tar_bytes(devkit([1, 2, 3, 1]), "w:gz")),
        ],
    )
    return folder


def test_imagenet_train_from_tars_in_a_tar(imagenet, tmp_path):
    arguments = ("convert", "imagenet", imagenet, tmp_path / "out", "--split", "train")
    printed = run_sjft(*arguments, "--incomplete")
    assert "found 3 synsets, published are 1,000" in printed
    assert "found 6 images in" in printed and "published are 1,281,167" in printed
    assert numbers_in(tmp_path / "out") == [1, 2, 11, 12, 21, 22]
    images = ImageLmdb(str(tmp_path / "out"))
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.class_names == [WORDS[wnid] for wnid in WNIDS]
    assert "found 3 synsets, published are 1,000: expected all" in run_sjft(
        *arguments, "--force", status=2
    )


def test_imagenet_labels_from_the_development_kit(imagenet, tmp_path):
    arguments = ("convert", "imagenet", imagenet, tmp_path / "out", "--split", "val")
    run_sjft(*arguments, "--incomplete")
    assert numbers_in(tmp_path / "out") == [1, 2, 3, 4]
    # ILSVRC2012_ID 1 is n01484850, which comes third by WordNet id
    assert ImageLmdb(str(tmp_path / "out")).labels.tolist() == [2, 0, 1, 2]


def test_imagenet_labels_from_val_txt_and_from_folders(imagenet):
    (imagenet / "synsets.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    lines = [f"ILSVRC2012_val_{i:08d}.JPEG {label}\n" for i, label in ((1, 2), (2, 0), (3, 1))]
    options = ("--split", "val", "--incomplete")
    (imagenet / "caffe_ilsvrc12.tar.gz").write_bytes(
        tar_bytes([("val.txt", "".join(lines).encode())], "w:gz")
    )
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == [2, 0, 1]
    assert images.class_names == WNIDS
    lines[0] = "ILSVRC2012_val_00000001.JPEG 3\n"
    (imagenet / "val.txt").write_text("".join(lines))
    with pytest.raises(InputError, match=r"line 1 of .*val.txt is .*, labels from 0 to 2"):
        read_form("imagenet", imagenet, *options)
    for name in os.listdir(imagenet):
        if name != "synsets.txt" and (imagenet / name).is_file():
            (imagenet / name).unlink()
    write_tree(imagenet / "val", val_images(2))
    with pytest.raises(InputError, match=r"nothing tells the labels of the images in .*val: "):
        read_form("imagenet", imagenet, *options)
    write_tree(imagenet / "val", [(f"{WNIDS[1]}/{name}", data) for name, data in val_images(2)])
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == [1, 1]


def test_imagenet_without_a_list_of_synsets_wants_all(imagenet):
    (imagenet / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    options = ("--split", "train", "--incomplete")
    with pytest.raises(InputError, match=r"holds 3 of ImageNet's 1,000 synsets: expected all, or"):
        read_form("imagenet", imagenet, *options)
    (imagenet / "ILSVRC2012_img_train.tar").unlink()
    wnids = [f"n{1440764 + 977 * i:08d}" for i in range(1000)]
    write_tree(imagenet / "train", [(f"{w}/{w}_1.JPEG", picture(i)) for i, w in enumerate(wnids)])
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == list(range(1000))
    assert images.class_names == wnids


def test_imagenet_validation_labels_in_another_order(imagenet):
    """The whole list is held against the labels of the first images that everybody knows."""
    (imagenet / "synsets.txt").write_text("".join(f"n{i:08d}\n" for i in range(1000)))
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 50_001)]
    for first, message in (
        ([490, 361, 171, 822, 297], r"gives the first images the labels \[490, 361, 171, 822, 297"),
        ([65, 970, 230, 809, 516], r"lacks 49,996 of the 50,000 images that .*val.txt names"),
    ):
        labels = first + [0] * 49_995
        lines = (f"{name} {label}\n" for name, label in zip(names, labels))
        (imagenet / "val.txt").write_text("".join(lines))
        with pytest.raises(InputError, match=message):
            read_form("imagenet", imagenet, "--split", "val")


def test_bad_development_kits(imagenet):
    packed = imagenet / "ILSVRC2012_devkit_t12.tar.gz"
    options = ("imagenet", imagenet, "--split", "val", "--incomplete")
    cases = [
        (devkit([1, 2, 3, 4]), f"{TRUTH} holds 4 at position 4: expected integers 1 to 3"),
        (devkit([0, 1, 2, 3]), "holds 0 at position 1"),
        ([devkit([])[0], (TRUTH, b"1\ncat\n")], "does not hold a number a line"),
        ([("x/meta.mat", mat_bytes(synsets=np.ones(3)))], "is no struct with the fields"),
        ([("x/meta.mat", mat_bytes(words=np.ones(3)))], "holds words: expected the variable syn"),
    ]
    for files, message in cases:
        packed.write_bytes(tar_bytes(files, "w:gz"))
        with pytest.raises(InputError, match=message):
            read_form(*options)
    content = tar_bytes(devkit([1, 2, 3, 1]), "w:gz")
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError, match=r"t12.tar.gz is truncated or damaged \(.*\): get it again"
    ):
        read_form(*options)


# ---- Tiny ImageNet, its whole validation set by the official annotations


@pytest.fixture(scope="module")
def tiny(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    meta = shared_data / "meta" / "tiny_imagenet"
    wnids = (meta / "wnids.txt").read_text()
    words = "".join(f"{wnid}\tthing {wnid}, sort\n" for wnid in ["n00001740", *wnids.split()])
    top = "tiny-imagenet-200"
    files = [(f"{top}/val/images/val_{i}.JPEG", picture(i)) for i in range(10_000)]
    files += [(f"{top}/test/images/test_{i}.JPEG", picture(i)) for i in range(3)]
    files += [(f"{top}/train/{w}/images/{w}_0.JPEG", picture(0)) for w in wnids.split()]
    files += [(f"{top}/train/{w}/{w}_boxes.txt", b"") for w in wnids.split()]
    files.append((f"{top}/wnids.txt", wnids.encode()))
    files.append((f"{top}/words.txt", words.encode()))
    annotations = (meta / "val_annotations.txt").read_bytes()
    files.append((f"{top}/val/val_annotations.txt", annotations))
    write_zip(folder / "tiny-imagenet-200.zip", files)
    return folder


def test_tiny_imagenet(tiny, tmp_path, shared_data):
    out = tmp_path / "out"
    printed = run_sjft("convert", "tiny-imagenet", tiny, out, "--split", "val")
    assert "wrote 10000 images, 200 classes (labels 0 to 199)" in printed
    assert record_count(out) == 10_000 and numbers_in(out) == list(range(10_000))
    meta = shared_data / "meta" / "tiny_imagenet"
    order = sorted((meta / "wnids.txt").read_text().split())
    lines = (meta / "val_annotations.txt").read_text().splitlines()
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [order.index(line.split("\t")[1]) for line in lines]
    assert images.class_names[3] == f"thing {order[3]}, sort"
    with pytest.raises(InputError, match=r"found 200 images in .*, published are 100,000"):
        read_form("tiny-imagenet", tiny, "--split", "train")
    train = read_form("tiny-imagenet", tiny, "--split", "train", "--incomplete")
    assert [entry.label for entry in train.entries] == list(range(200))
    assert train.class_names == images.class_names


# ---- Places205, small


@pytest.fixture
def places(tmp_path) -> Path:
    folder = tmp_path / "places"
    top = "data/vision/torralba/deeplearning/images256"
    paths = ["a/abbey/gsun_1.jpg", "a/apartment_building/outdoor/gsun_2.jpg", "a/abbey/gsun_3.jpg"]
    files = [(f"{top}/{path}", picture(i)) for i, path in enumerate(paths)]
    text = f"{paths[1]} 1\n{paths[0]} 0\n{paths[2]} 0\n"
    lists = [("trainvalsplit_places205/train_places205.csv", text.encode())]
    write_tree(
        folder,
        [
            ("imagesPlaces205_resize.tar.gz", tar_bytes(files, "w:gz")),
            ("trainvalsplit_places205.tar.gz", tar_bytes(lists, "w:gz")),
        ],
    )
    return folder


def test_places205(places, tmp_path):
    out = tmp_path / "out"
    arguments = ("convert", "places205", places, out, "--split", "train")
    printed = run_sjft(*arguments, status=2)
    assert "found 3 images in" in printed and "published are 2,448,873: expected all" in printed
    printed = run_sjft(*arguments, "--incomplete")
    assert numbers_in(out) == [1, 0, 2]
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [1, 0, 0]
    assert images.class_names == ["abbey", "apartment_building/outdoor"]
    assert sorted(os.listdir(tmp_path)) == ["out", "places"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/abbey/gsun_1.jpg\n", "line 1 of .*train_places205.csv is .*: expected 'folder/image"),
        ("a/abbey/gsun_1.jpg 205\n", "labels from 0 to 204"),
        ("a/abbey/gsun_1.jpg 1\na/attic/gsun_2.jpg 1\n", "line 2 of .* gives the label 1 to a/att"),
        ("<!DOCTYPE html>\n<html>\n", "is a web page, perhaps an error's: expected the published"),
        ("a/abbey/gsun_9.jpg 0\n", "lacks 1 of the 1 images"),
    ],
)
def test_bad_lists_of_places(places, text, message):
    (places / "train_places205.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_form("places205", places, "--split", "train", "--incomplete")


# ---- what all have in common


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        (
            "stanford-dogs",
            (),
            "lacks train_list.mat of Stanford Dogs: expected train_list.mat or lis",
        ),
        ("flowers102", (), "lacks imagelabels.mat of Oxford Flowers 102"),
        ("caltech256", ("--per-class", 1), "lacks the images of Caltech-256: expected 256_Object"),
        ("mit67", (), "lacks TrainImages.txt of MIT Indoor 67"),
        ("imagenet", (), "lacks the training images of ImageNet ILSVRC 2012"),
        ("places205", (), "lacks train_places205.csv of Places205"),
        ("tiny-imagenet", (), "lacks the images of Tiny ImageNet"),
    ],
)
def test_nothing_there(tmp_path, form, options, message):
    with pytest.raises(InputError, match=message):
        read_form(form, tmp_path, "--split", "train", *options)
    (tmp_path / "file").write_text("x")
    for name in ("file", "nowhere"):
        with pytest.raises(InputError, match=rf"{name} is no folder: expected the one that holds"):
            read_form(form, tmp_path / name, "--split", "train", *options)


def test_archives_that_are_none(tmp_path):
    options = ("caltech256", tmp_path, "--split", "train", "--per-class", 1, "--incomplete")
    archive = tmp_path / "256_ObjectCategories.tar"
    images = [(f"001.a/001_{i:04d}.jpg", picture(i)) for i in range(20)]
    good, packed = tar_bytes(images), tar_bytes(images, "w:gz")
    bzip2 = tar_bytes(images, "w:bz2")
    for content, message in (
        (b"", "is no archive: expected a tar or zip, it begins with b''"),
        (b"<!DOCTYPE html><html>", r"is no archive: .*, it begins with b'<!DOCTYPE html><html>'"),
        (b"<!DOCTYPE html>" * 1000, "is no archive"),
        (good[: 512 * 5 + 100], "is truncated or damaged"),
        (b"PK\3\4" + good, "is truncated or damaged"),
        (packed[:-200], "is truncated or damaged"),
        (packed[:100] + b"x" * 100 + packed[200:], "is truncated or damaged"),
        (bzip2[:100] + b"x" * 100 + bzip2[200:], "is truncated or damaged"),
        (tar_bytes([("inner.tar", good)]), "holds no images of Caltech-256"),
    ):
        archive.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_form(*options)
    for content in (good, packed, tar_bytes(images, "w:xz"), bzip2):
        archive.write_bytes(content)
        assert len(read_form(*options).entries) == 1


def test_a_tar_that_names_a_file_twice_means_the_later(tmp_path):
    images = [("001.ä b/001_0001.jpg", picture(i)) for i in (1, 2)]
    images += [("./001.ä b/001_0002.jpg", picture(2)), ("._x/001.a/001_0009.jpg", picture(3))]
    (tmp_path / "256_ObjectCategories.tar").write_bytes(tar_bytes(images))
    options = ("--split", "train", "--per-class", 1, "--incomplete")
    out = tmp_path / "out"
    run_sjft("convert", "caltech256", tmp_path, out, *options)
    assert numbers_in(out) == [2] and ImageLmdb(str(out)).class_names == ["ä b"]


def test_a_zip_with_a_damaged_member(tmp_path):
    archive = tmp_path / "256_ObjectCategories.tar"  # a zip all the same
    write_zip(archive, [(f"001.a/001_{i:04d}.jpg", picture(7)) for i in range(3)])
    content = bytearray(archive.read_bytes())
    at = content.index(b"001.a/001_0001.jpg") + 30
    content[at] ^= 0xFF
    archive.write_bytes(content)
    # the split draws two of the three, the damaged one among them
    options = ("--split", "train", "--per-class", 2, "--incomplete", "--seed", 0)
    out = tmp_path / "out"
    printed = run_sjft("convert", "caltech256", tmp_path, out, *options, "--on-bad", "skip")
    assert "001_0001.jpg cannot be read: " in printed and "left out 1 unreadable" in printed
    assert numbers_in(out) == [7]


# ---- as training takes them

SOLVER = """
net_param {{
  layer {{
    name: "data" type: "Python" top: "data" top: "label"
    python_param {{ module: "sjft.layers" layer: "TargetDataLayer" param_str: '{params}' }}
  }}
  layer {{
    name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
    inner_product_param {{ num_output: 1000 }}
  }}
  layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
}}
base_lr: 0.01 lr_policy: "fixed" max_iter: 1 solver_mode: CPU snapshot_prefix: "snapshot"
"""


def test_sjft_check_accepts_what_every_form_writes(tmp_path, monkeypatch, imagenet, places):
    monkeypatch.chdir(tmp_path)
    lists = mat_bytes(file_list=cells(["n1-a/a.jpg"]), labels=np.ones((1, 1)))
    flower_labels = mat_bytes(labels=np.array([[5, 6]], np.uint8))
    top = "tiny-imagenet-200"
    write_tree(
        tmp_path,
        [
            ("dogs/train_list.mat", lists),
            ("dogs/Images/n1-a/a.jpg", picture(0)),
            ("flowers/imagelabels.mat", flower_labels),
            ("flowers/setid.mat", mat_bytes(trnid=np.array([[2]], np.uint16))),
            ("flowers/jpg/image_00002.jpg", picture(2)),
            ("caltech/256_ObjectCategories/001.a b/001_0001.jpg", picture(1)),
            ("caltech/256_ObjectCategories/001.a b/001_0002.jpg", picture(2)),
            ("indoor/TrainImages.txt", b"bar/a b.jpg\n"),
            ("indoor/TestImages.txt", b"attic/c.jpg\n"),
            ("indoor/Images/bar/a b.jpg", picture(1)),
            (f"tiny/{top}/wnids.txt", WNIDS[0].encode()),
            (f"tiny/{top}/words.txt", f"{WNIDS[0]}\ttench".encode()),
            (f"tiny/{top}/train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG", picture(1)),
        ],
    )
    forms = {
        "stanford-dogs": "dogs",
        "flowers102": "flowers",
        "caltech256": "caltech",
        "mit67": "indoor",
        "imagenet": "imagenet",
        "places205": "places",
        "tiny-imagenet": "tiny",
    }
    labels = {}
    for form, folder in forms.items():
        options = ["--split", "train", "--incomplete"]
        options += ["--per-class", "1"] if form == "caltech256" else []
        out = tmp_path / f"{form}_lmdb"
        convert_form(form, tmp_path / folder, out, *options)
        labels[form] = side_file(out)["class_names"][np.load(out / "sjft_labels.npy")[0]]
        params = {"target": str(out), "batch_size": 1, "crop": 4}
        solver = tmp_path / "solver.prototxt"
        solver.write_text(SOLVER.format(params=json.dumps(params)))
        report = Report()
        check_solver(report, str(solver))
        assert not report.failures
    assert labels == {
        "stanford-dogs": "a",
        "flowers102": "tiger lily",
        "caltech256": "a b",
        "mit67": "bar",
        "imagenet": WORDS[WNIDS[0]],
        "places205": "apartment_building/outdoor",
        "tiny-imagenet": "tench",
    }
