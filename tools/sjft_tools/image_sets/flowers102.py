"""Oxford Flowers 102 (Nilsback & Zisserman 2008): 1,020 + 1,020 + 6,149 images."""

from __future__ import annotations

import argparse

import numpy as np

from sjft_tools.image_sets import ImageSet
from sjft_tools.image_sets.downloads import Downloads
from sjft_tools.image_sets.flower_names import FLOWERS
from sjft_tools.image_sets.mat_file import integers, read_mat
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
)

#: split -> its variables in setid.mat
_VARIABLES = {
    "train": ["trnid"],
    "val": ["valid"],
    "trainval": ["trnid", "valid"],
    "test": ["tstid"],
}
_COUNTS = {"train": 1_020, "val": 1_020, "trainval": 2_040, "test": 6_149}
_IMAGES = 8_189


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """Read setid.mat and imagelabels.mat: label i is the flower i + 1 there.

    setid.mat counts images from 1: image 1 is image_00001.jpg.
    """
    downloads = Downloads(args.folder, scratch, "Oxford Flowers 102")
    content, where = downloads.needed("imagelabels.mat")
    name = f"labels in {where}"
    labels = integers(read_mat(content, where, "labels"), name, 1, len(FLOWERS)) - 1
    check_count(len(labels), _IMAGES, name, args.incomplete)
    content, where = downloads.needed("setid.mat")
    numbers = np.concatenate(
        [
            integers(read_mat(content, where, variable), f"{variable} in {where}", 1, len(labels))
            for variable in _VARIABLES[args.split]
        ]
    )
    check_count(len(numbers), _COUNTS[args.split], f"images in {where}", args.incomplete)
    files = downloads.files("the images", ["jpg", "102flowers.tgz", "102flowers.tar"])
    paths = [f"image_{number:05d}.jpg" for number in numbers]
    entries = listed_entries(files, paths, labels[numbers - 1].tolist(), where, args.incomplete)
    return ImageSet(entries, list(FLOWERS))
