"""Several image LMDBs behind one another, such as ImageNet and Places as one source."""

from __future__ import annotations

import argparse
import os

from sjft.image_lmdb import ImageLmdb
from sjft_tools.image_sets import Entry, ImageSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    parser.add_argument(
        "lmdbs",
        nargs="+",
        metavar="LMDB",
        help="image LMDBs; the labels of each count on from those of the one before",
    )


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """List the records of all, one LMDB after the other.

    An LMDB has as many classes as it has names, or else as its largest label tells.
    """
    entries: list[Entry] = []
    class_names: list[str] = []
    for path in map(os.path.abspath, args.lmdbs):
        images = ImageLmdb(path)
        first = len(class_names)
        for position, label in enumerate(images.labels.tolist()):
            name = f"record {position} of {path}"
            entries.append(Entry(name, first + label, path, position))
        class_names += images.class_names
        class_names += [""] * (first + int(images.labels.max()) + 1 - len(class_names))
    return ImageSet(entries, class_names if any(class_names) else [])
