"""sjft convert where downloads of published data sets are missing, damaged or doubled."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
from published_sets import (
    cells,
    convert_form,
    mat_bytes,
    numbers_in,
    picture,
    read_form,
    tar_bytes,
    write_tree,
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


def test_a_tar_with_a_damaged_header_is_not_taken_for_a_shorter_one(tmp_path, capfd):
    """tarfile itself ends there without a word."""
    options = ("caltech256", tmp_path, "--split", "train", "--per-class", 1, "--incomplete")
    archive = tmp_path / "256_ObjectCategories.tar"
    content = tar_bytes([(f"001.a/001_{i:04d}.jpg", picture(i)) for i in range(5)])
    for damaged in (
        content[:3072] + b"x" * 512 + content[3584:],  # the fourth header, where there is none
        content[: 3072 + 100],
    ):
        archive.write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"is truncated or damaged \(bad header\): get it again"
        ):
            read_form(*options)
    archive.write_bytes(content[:3072])
    read_form(*options)
    printed = capfd.readouterr().err
    assert "256_ObjectCategories.tar has no mark at its end: it may have been cut short" in printed
    assert "found 3 images in" in printed
    archive.write_bytes(content)
    read_form(*options)
    assert "no mark at its end" not in capfd.readouterr().err


WNIDS = ["n01440764", "n01443537"]


@pytest.fixture
def imagenet(tmp_path) -> Path:
    """The folder of a data set that lacks the images, of two synsets."""
    write_tree(tmp_path, [("synsets.txt", "\n".join(WNIDS).encode())])
    return tmp_path


def of_synset(synset: int) -> list[tuple[str, bytes]]:
    return [(f"{WNIDS[synset]}_{i}.JPEG", picture(10 * synset + i)) for i in range(3)]


def test_archives_within_archives(imagenet, capfd):
    options = ("imagenet", imagenet, "--split", "train", "--incomplete")
    archive = imagenet / "ILSVRC2012_img_train.tar"
    name, good = f"{WNIDS[0]}.tar", tar_bytes(of_synset(0))
    other = (f"{WNIDS[1]}.tar", tar_bytes(of_synset(1)))
    for inner, message in (
        (good[:1500], rf"{name} is truncated or damaged"),
        (good[:1024] + b"x" * 512 + good[1536:], rf"{name} is truncated or damaged"),
        (b"", rf"{name} is truncated or damaged|{name} is no archive"),
        (b"<html>gone</html>", rf"{name} is no archive: .*, it begins with b'<html>gone</html>'"),
        (b"<html>gone</html>" * 100, rf"{name} is no archive: .*, it begins with b'<html>gone</"),
        (tar_bytes(of_synset(0), "w:gz"), rf"{name} is no archive: expected a tar or zip"),
    ):
        archive.write_bytes(tar_bytes([(name, inner), other]))
        with pytest.raises(InputError, match=message):
            read_form(*options)
    archive.write_bytes(tar_bytes([(f"{WNIDS[0]}.tar.gz", b""), other]))
    assert [entry.label for entry in read_form(*options).entries] == [1, 1, 1]
    printed = capfd.readouterr().err
    assert f"left out 1 archives within {archive}, the first {WNIDS[0]}.tar.gz: unpack" in printed
    archive.write_bytes(tar_bytes([("ILSVRC2012_img_train.tar", tar_bytes([(name, good), other]))]))
    with pytest.raises(InputError, match="holds no training images"):
        read_form(*options)
    assert f"the first ILSVRC2012_img_train.tar/{name}: unpack" in capfd.readouterr().err


def test_tars_left_beside_what_was_unpacked_from_them(imagenet):
    options = ("imagenet", imagenet, "--split", "train", "--incomplete")
    write_tree(imagenet / "train", [(f"{WNIDS[0]}/{name}", data) for name, data in of_synset(0)])
    write_tree(imagenet / "train", [(f"{WNIDS[0]}.tar", tar_bytes(of_synset(0)))])
    message = rf"train has 3 images more than once, the first {WNIDS[0]}_0.JPEG: expected each once"
    with pytest.raises(InputError, match=message):
        read_form(*options)


def test_folders_that_are_links(imagenet, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for i, wnid in enumerate(WNIDS):
        write_tree(elsewhere / f"disk {i}", of_synset(i))
        (imagenet / "train").mkdir(exist_ok=True)
        (imagenet / "train" / wnid).symlink_to(elsewhere / f"disk {i}")
        (elsewhere / f"disk {i}" / "back").symlink_to(imagenet / "train")
        (elsewhere / f"disk {i}" / "itself").symlink_to(elsewhere / f"disk {i}")
    options = ("imagenet", imagenet, "--split", "train", "--incomplete")
    assert [entry.label for entry in read_form(*options).entries] == [0, 0, 0, 1, 1, 1]


def test_a_class_folder_whose_name_is_not_utf8(tmp_path):
    folder = os.fsencode(tmp_path / "in" / "256_ObjectCategories") + b"/001.caf\xe9 x"
    os.makedirs(folder)
    for i in (1, 2):
        with open(folder + b"/001_000%d.jpg" % i, "wb") as stream:
            stream.write(picture(7))
    options = ("--split", "train", "--per-class", 1, "--incomplete")
    convert_form("caltech256", tmp_path / "in", tmp_path / "out", *options)
    assert ImageLmdb(str(tmp_path / "out")).class_names == ["caf\ufffd x"]
    assert numbers_in(tmp_path / "out") == [7]


@pytest.mark.parametrize(
    ("form", "files", "message"),
    [
        (
            "mit67",
            {"TrainImages.txt": b"", "TestImages.txt": b"bar/a.jpg"},
            "TrainImages.txt names no images: expected the published list",
        ),
        (
            "mit67",
            {"TrainImages.txt": b"\n\n <html>\n", "TestImages.txt": b"bar/a.jpg"},
            "TrainImages.txt is a web page",
        ),
        (
            "mit67",
            {"TrainImages.txt": b"bar/b.jpg\nbar/a.jpg\nbar/a.jpg", "TestImages.txt": b"bar/c.jpg"},
            "has 1 images more than once, the first bar/a.jpg",
        ),
        ("places205", {"train_places205.csv": b"\n"}, "train_places205.csv is empty: expected '"),
        (
            "flowers102",
            {
                "imagelabels.mat": mat_bytes(labels=np.array([[1, 2]])),
                "setid.mat": mat_bytes(trnid=np.zeros((1, 0))),
            },
            "trnid in .*setid.mat is empty: expected integers 1 to 2",
        ),
    ],
)
def test_lists_that_name_nothing_or_too_much(tmp_path, form, files, message):
    write_tree(tmp_path, list(files.items()))
    for folder in ("Images", "images256", "jpg"):
        write_tree(tmp_path, [(f"{folder}/bar/a.jpg", picture(1))])
    with pytest.raises(InputError, match=message):
        read_form(form, tmp_path, "--split", "train", "--incomplete")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_children", np.zeros((0, 0)), "num_children in .*meta.mat holds .*: expected numbers"),
        ("ILSVRC2012_ID", "one", "ILSVRC2012_ID in .*meta.mat holds .*: expected numbers"),
        ("ILSVRC2012_ID", 2.0, "numbers its 2 synsets otherwise than 1, 2, 3"),
        ("WNID", 1.0, "WNID in .*meta.mat holds 1.0: expected texts"),
        ("WNID", "fish", "line 1 of .*meta.mat is 'fish': expected a WordNet id"),
        ("WNID", WNIDS[1], f"names {WNIDS[1]} again: expected each once"),
    ],
)
def test_development_kits_with_spoilt_synsets(imagenet, field, value, message):
    (imagenet / "synsets.txt").unlink()
    columns = {"ILSVRC2012_ID": [1.0, 2.0], "WNID": WNIDS, "words": ["a", "b"]}
    columns["num_children"] = [0.0, 0.0]
    synsets = np.zeros((2, 1), [(name, object) for name in columns])
    for name, column in columns.items():
        synsets[name][:, 0] = cells(column)[:, 0]
    synsets[field][0, 0] = value
    kit = imagenet / "ILSVRC2012_devkit_t12"
    write_tree(kit / "data", [("meta.mat", mat_bytes(synsets=synsets))])
    write_tree(imagenet / "train", of_synset(0))
    with pytest.raises(InputError, match=message):
        read_form("imagenet", imagenet, "--split", "train", "--incomplete")


def test_what_is_missing_is_named(imagenet, capfd):
    write_tree(imagenet / "train", [(f"{WNIDS[1]}/{name}", data) for name, data in of_synset(1)])
    with pytest.raises(InputError, match="found 2 synsets, published are 1,000: expected all"):
        read_form("imagenet", imagenet, "--split", "train")
    read_form("imagenet", imagenet, "--split", "train", "--incomplete")
    assert f"missing synset: {WNIDS[0]}\n" in capfd.readouterr().err
    folder = imagenet / "256_ObjectCategories"
    write_tree(
        folder, [(f"{i:03d}.x/{i:03d}_0001.jpg", picture(i)) for i in range(1, 258) if i != 7]
    )
    with pytest.raises(InputError, match=r"found 256 folders in .*, published are 257"):
        read_form("caltech256", imagenet, "--split", "train", "--per-class", 1)
    assert "missing folder: 007\n" in capfd.readouterr().err
