"""sjft convert from Oxford Flowers 102: all 8,189 images by the official .mat files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from scipy.io import loadmat

from conftest import run_sjft
from published_sets import numbers_in, picture, read_form, tar_bytes, write_tree
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


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
