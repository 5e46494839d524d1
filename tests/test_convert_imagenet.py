"""sjft convert from ImageNet: tars in a tar, the development kit, other lists of its labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
from published_sets import (
    devkit_meta,
    mat_bytes,
    numbers_in,
    picture,
    read_form,
    tar_bytes,
    write_tree,
)
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from source_sets import TRUTH, WNIDS, WORDS, devkit, val_images, write_imagenet


@pytest.fixture
def imagenet(tmp_path) -> Path:
    return write_imagenet(tmp_path / "imagenet")


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


def test_imagenet_names_the_synsets_that_lack_images(imagenet, capsys):
    """Known from the development kit, also where another file lists the synsets."""
    read_form("imagenet", imagenet, "--split", "train", "--incomplete")
    said = ", ".join(f"{wnid} 2 of 1,300" for wnid in WNIDS)
    assert f"synsets whose images are not as many as published: {said}\n" in capsys.readouterr().err
    for packed in imagenet.glob("*.tar*"):
        packed.unlink()
    wnids = [f"n{1440764 + 977 * i:08d}" for i in range(1000)]
    write_tree(imagenet / "train", [(f"{w}/{w}_1.JPEG", b"") for w in wnids])
    (imagenet / "synsets.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    (imagenet / "meta.mat").write_bytes(devkit_meta(wnids, [""] * 1000, images=1))
    with pytest.raises(InputError, match=r"found 1,000 images in .*, published are 1,281,167"):
        read_form("imagenet", imagenet, "--split", "train")
    (imagenet / "train" / wnids[7] / f"{wnids[7]}_1.JPEG").unlink()
    (imagenet / "train" / wnids[999] / f"{wnids[999]}_2.JPEG").touch()
    with pytest.raises(
        InputError,
        match=f"not as many as published: {wnids[7]} 0 of 1, {wnids[999]} 2 of 1: expected all;",
    ):
        read_form("imagenet", imagenet, "--split", "train")
    for i in range(100, 120):
        (imagenet / "train" / wnids[i] / f"{wnids[i]}_1.JPEG").unlink()
    with pytest.raises(InputError, match=f"{wnids[108]} 0 of 1 and 12 synsets more: expected all"):
        read_form("imagenet", imagenet, "--split", "train")


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
