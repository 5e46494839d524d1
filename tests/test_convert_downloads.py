"""sjft convert where downloads of published data sets are missing, damaged or doubled."""

from __future__ import annotations

import pytest

from conftest import run_sjft
from published_sets import (
    numbers_in,
    picture,
    read_form,
    tar_bytes,
    write_zip,
)
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


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
