"""sjft convert from Tiny ImageNet: its whole validation set by the official annotations."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import run_sjft
from published_sets import numbers_in, picture, read_form, record_count, write_zip
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


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
