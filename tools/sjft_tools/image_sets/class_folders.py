"""One folder per class: its name is the class's name, the images lie anywhere below it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from sjft.errors import InputError, did_you_mean
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.image_sets.class_names import read_class_names, readable
from sjft_tools.image_sets.files import in_folder, is_hidden

#: What counts as an image by its name, in any case of letters; other files are left out.
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)

_NAMED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    parser.add_argument("folder", metavar="DIR", help="holds one folder per class")
    parser.add_argument(
        "--class-names",
        metavar="FILE",
        help="one folder's name a line, the first for label 0; folders may be missing, none may be "
        "added (default: the folders' names, sorted)",
    )


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """List the images, class by class, sorted by name; say on standard error what is left out."""
    if not os.path.isdir(args.folder):
        raise InputError(f"the folder {args.folder} does not exist: expected one folder per class")
    found = folder_names(args.folder)
    if not found:
        raise InputError(f"{args.folder} holds no folders: expected one folder per class")
    names = found if args.class_names is None else read_class_names(args.class_names)
    label_of = {name: label for label, name in enumerate(names)}  # the last one
    for label, name in enumerate(names):
        if label != label_of[name]:
            raise InputError(
                f"{args.class_names} names {name!r} for the labels {label} and {label_of[name]}: "
                f"expected each folder once"
            )
    for name in found:
        if name not in names:
            raise InputError(
                f"{args.class_names} does not name the folder {name!r} of {args.folder}"
                f"{did_you_mean(name, names)}"
            )
    entries: list[Entry] = []
    others: list[str] = []
    for label, name in enumerate(names):
        # a name such as ".." is no folder of a class
        files = list(_files(os.path.join(args.folder, name))) if name in found else []
        images = [file for file in files if file.lower().endswith(ENDINGS)]
        others += [file for file in files if not file.lower().endswith(ENDINGS)]
        entries += [Entry(file, label) for file in images]
        if not images:
            print(f"class {label} ({name}) has no images", file=sys.stderr)
    if not entries:
        raise InputError(
            f"the folders in {args.folder} hold no images: expected files that end in "
            f"{', '.join(ENDINGS)}"
        )
    if others:
        print(
            f"left out {len(others)} files whose names do not end as an image's does, the first "
            f"{others[0]}",
            file=sys.stderr,
        )
    # as where the folder above was meant: train and test are no classes
    if all(os.path.relpath(entry.path, args.folder).count(os.sep) > 1 for entry in entries):
        print(
            f"no image lies in its class's folder itself, but deeper, as {entries[0].path} does: "
            f"the classes are {', '.join(found[:_NAMED])}{', ...' if len(found) > _NAMED else ''}",
            file=sys.stderr,
        )
    return ImageSet(entries, [readable(name) for name in names], args.folder)


def folder_names(folder: str) -> list[str]:
    """Return the names of the classes' folders in `folder`, sorted; hidden ones are none."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not is_hidden(f"{entry.name}/")
    )


def _files(folder: str) -> Iterator[str]:
    """Yield the files below `folder`, hidden ones left out, sorted within each folder."""
    return (os.path.join(folder, name) for name, _ in in_folder(folder) if not is_hidden(name))
