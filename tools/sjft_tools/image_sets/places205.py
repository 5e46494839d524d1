"""Places205 (Zhou et al. 2014): 205 scenes, 2,448,873 images to train on and 20,500 to validate."""

from __future__ import annotations

import argparse
import re

from sjft.errors import InputError
from sjft_tools.image_sets import ImageSet
from sjft_tools.image_sets.downloads import Downloads, lines_of
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
)

_COUNTS = {"train": 2_448_873, "val": 20_500}
_SCENES = 205
_LISTS = ["trainvalsplit_places205", "trainvalsplit_places205.tar.gz"]
_IMAGES = [
    "images256",
    "data/vision/torralba/deeplearning/images256",
    "imagesPlaces205_resize",
    "imagesPlaces205_resize.tar",
    "imagesPlaces205_resize.tar.gz",
]

# a/abbey/gsun_0003a6.jpg 0: folders, image, label
_LINE = re.compile(r"/?((?:[^/]+/)+[^/]+?)[\s,]+([0-9]{1,9})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """Read train_places205.csv or val_places205.csv, whose labels count from 0."""
    downloads = Downloads(args.folder, scratch, "Places205")
    content, where = downloads.needed(f"{args.split}_places205.csv", _LISTS)
    paths, labels = [], []
    scene_of: dict[int, str] = {}
    for number, line in enumerate(lines_of(content, where), 1):
        match = _LINE.fullmatch(line)
        if not match or int(match[2]) >= _SCENES:
            raise InputError(
                f"line {number} of {where} is {line[:80]!r}: expected 'folder/image.jpg label', "
                f"labels from 0 to {_SCENES - 1}"
            )
        path, label = match[1], int(match[2])
        scene = path.rpartition("/")[0]
        if scene_of.setdefault(label, scene) != scene:
            raise InputError(
                f"line {number} of {where} gives the label {label} to {scene}, another line to "
                f"{scene_of[label]}: expected one folder per label"
            )
        paths.append(path)
        labels.append(label)
    if not paths:
        raise InputError(f"{where} is empty: expected 'folder/image.jpg label' lines")
    check_count(len(paths), _COUNTS[args.split], f"images in {where}", args.incomplete)
    check_count(len(scene_of), _SCENES, f"scenes in {where}", args.incomplete)
    files = downloads.files("the images", _IMAGES)
    entries = listed_entries(files, paths, labels, where, args.incomplete)
    # a/abbey is the scene abbey: the first folder is only the first letter
    names = [scene_of.get(label, "").partition("/")[2] for label in range(max(scene_of) + 1)]
    return ImageSet(entries, names)
