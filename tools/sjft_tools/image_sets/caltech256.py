"""Caltech-256 (Griffin et al. 2007): 30,607 images of 256 classes and clutter, split at random."""

from __future__ import annotations

import argparse
import re

from sjft.errors import InputError
from sjft.randomness import permutation
from sjft_tools.command import integer_at_least
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.image_sets.class_names import readable
from sjft_tools.image_sets.downloads import Downloads
from sjft_tools.image_sets.published import add_published_arguments, check_count, say

_IMAGES = 30_607
_FOLDERS = 257
_CLUTTER = 257

# 001.ak47/001_0001.jpg; a few other files lie about in the archive
_IMAGE = re.compile(r"(?:^|.*/)([0-9]{3})\.([^/]+)/[0-9]{3}_[0-9]{4}\.jpg", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images and how they are split."""
    add_published_arguments(parser, ["train", "test"])
    parser.add_argument(
        "--per-class",
        type=integer_at_least(1),
        required=True,
        metavar="K",
        help="images of each class to train on, drawn at random: 15, 30, 45 or 60 in the paper",
    )
    parser.add_argument(
        "--test-per-class",
        type=integer_at_least(1),
        metavar="N",
        help="images of each class to test on, the same for every K (default: all the others)",
    )
    parser.add_argument(
        "--seed",
        type=integer_at_least(0),
        default=0,
        help="of the split; with one seed fewer images to train on are a part of more",
    )
    parser.add_argument(
        "--clutter", action="store_true", help="keep the folder 257.clutter, as label 256"
    )


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """List the images of the split: label i is the folder numbered i + 1."""
    downloads = Downloads(args.folder, scratch, "Caltech-256")
    names = ["256_ObjectCategories", "256_ObjectCategories.tar"]
    files = downloads.files("the images", names)
    classes: dict[int, tuple[str, list[str]]] = {}
    for path in sorted(files.places):
        match = _IMAGE.fullmatch(path)
        if match:
            number, name = int(match[1]), match[2]
            known = classes.setdefault(number, (name, []))
            if known[0] != name:
                raise InputError(
                    f"{files.origin} holds the folders {number:03d}.{known[0]} and "
                    f"{number:03d}.{name}: expected one of each number"
                )
            known[1].append(path)
    if not classes or not 1 <= min(classes) <= max(classes) <= _FOLDERS:
        raise InputError(
            f"{files.origin} holds no images of Caltech-256: expected paths such as "
            f"001.ak47/001_0001.jpg, in folders 001 to {_FOLDERS}"
        )
    found = sum(len(paths) for _, paths in classes.values())
    say("missing folder", [f"{i:03d}" for i in range(1, _FOLDERS + 1) if i not in classes])
    check_count(len(classes), _FOLDERS, f"folders in {files.origin}", args.incomplete)
    check_count(found, _IMAGES, f"images in {files.origin}", args.incomplete)
    if not args.clutter:
        classes.pop(_CLUTTER, None)
    entries: list[Entry] = []
    for number, (name, paths) in sorted(classes.items()):
        chosen = _chosen(len(paths), number, f"{number:03d}.{name}", args)
        entries += [files.entry(paths[i], number - 1) for i in chosen]
    class_names = [
        readable(classes[i + 1][0]) if i + 1 in classes else "" for i in range(max(classes))
    ]
    return ImageSet(entries, class_names)


def _chosen(count: int, number: int, folder: str, args: argparse.Namespace) -> list[int]:
    """Return the positions of a class's images that are in the split, ascending."""
    tests = count - args.per_class if args.test_per_class is None else args.test_per_class
    if tests < 1 or args.per_class + tests > count:
        raise InputError(
            f"the class {folder} has {count} images: expected "
            + (
                f"at least --per-class {args.per_class} and --test-per-class {tests} together"
                if args.test_per_class
                else f"more than --per-class {args.per_class}"
            )
        )
    order = permutation(count, args.seed, "split of Caltech-256", number).tolist()
    # The tests come from the end, so that they do not depend on how many are trained on.
    return sorted(order[: args.per_class] if args.split == "train" else order[-tests:])
