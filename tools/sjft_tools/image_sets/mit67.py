"""MIT Indoor 67 (Quattoni & Torralba 2009): 67 scenes, 5,360 images to train, 1,340 to test."""

from __future__ import annotations

import argparse

from sjft.errors import InputError
from sjft_tools.image_sets import ImageSet
from sjft_tools.image_sets.downloads import Downloads, lines_of
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
)

_LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
_COUNTS = {"train": 5_360, "test": 1_340}
_SCENES = 67


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """Read the published list: the labels are the scenes of both lists, sorted by name."""
    downloads = Downloads(args.folder, scratch, "MIT Indoor 67")
    lists = {}
    for split, name in _LISTS.items():
        content, where = downloads.needed(name)
        lists[split] = lines_of(content, where)
        for line in lists[split]:
            if line.count("/") != 1 or line.startswith("/"):
                raise InputError(f"{where} holds {line[:80]!r}: expected lines 'scene/image.jpg'")
        check_count(len(lists[split]), _COUNTS[split], f"images in {where}", args.incomplete)
    scenes = sorted({path.split("/")[0] for paths in lists.values() for path in paths})
    check_count(len(scenes), _SCENES, "scenes in both lists", args.incomplete)
    paths = lists[args.split]
    labels = [scenes.index(path.split("/")[0]) for path in paths]
    files = downloads.files("the images", ["Images", "indoorCVPR_09.tar"])
    entries = listed_entries(files, paths, labels, _LISTS[args.split], args.incomplete)
    return ImageSet(entries, scenes)
