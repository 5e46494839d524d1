"""sjft convert from Stanford Dogs: full-sized lists of our own; .mat files that are bad or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
from published_sets import cells, mat_bytes, numbers_in, picture, read_form, tar_bytes, write_tree
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


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
