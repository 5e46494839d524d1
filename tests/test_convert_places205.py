"""sjft convert from Places205: a few images, and bad lists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import run_sjft
from published_sets import numbers_in, read_form
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from source_sets import write_places


@pytest.fixture
def places(tmp_path) -> Path:
    return write_places(tmp_path / "places")


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
