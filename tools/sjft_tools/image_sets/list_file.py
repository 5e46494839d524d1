"""The form of Caffe's own convert_imageset: a text file with one ``path label`` a line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator

from sjft.errors import InputError
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.image_sets.class_names import check_class_names, read_class_names

# As many digits as any integer worth naming has: Python refuses to convert thousands of them.
_INTEGER = re.compile(r"[+-]?[0-9]{1,100}", re.ASCII)
_SHOWN = 40
_LARGEST_LABEL = 2**31 - 1  # Datum.label is an int32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    parser.add_argument("list", metavar="LIST.txt", help="one 'path label' a line, labels from 0")
    parser.add_argument(
        "--root", metavar="DIR", help="folder of the list's paths (default: that of LIST.txt)"
    )
    parser.add_argument(
        "--class-names", metavar="FILE", help="one name a line, the first for label 0"
    )


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """Read the list and the class names."""
    root = os.path.dirname(args.list) if args.root is None else args.root
    if args.root is not None and not os.path.isdir(root):
        raise InputError(f"the folder --root {root} does not exist")
    entries = list(_entries(args.list, root))
    if not entries:
        raise InputError(f"the list {args.list} is empty: expected one 'path label' a line")
    names = []
    if args.class_names is not None:
        names = read_class_names(args.class_names)
        check_class_names(names, max(entry.label for entry in entries), args.class_names)
    return ImageSet(entries, names)


def _entries(path: str, root: str) -> Iterator[Entry]:
    try:
        # surrogateescape: the names of files need not be UTF-8
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    image, label = _parsed(line, f"line {number} of {path}")
                    yield Entry(os.path.join(root, image), label)
    except OSError as error:
        raise InputError(f"the list {path} cannot be read: {error.strerror}") from None


def _parsed(line: str, where: str) -> tuple[str, int]:
    """Split a line into the image's path, which may hold spaces, and its label, the last field."""
    fields = line.rsplit(None, 1)
    if len(fields) != 2:
        raise InputError(f"{where} is {line.strip()!r}: expected a path, a space and a label")
    image, label = fields
    if "\0" in image:
        raise InputError(f"{where} has a zero byte in its path: expected text")
    expected = f"expected an integer from 0 to {_LARGEST_LABEL}"
    if not _INTEGER.fullmatch(label):
        raise InputError(f"{where} has the label {label[:_SHOWN]!r}: {expected}")
    if not 0 <= int(label) <= _LARGEST_LABEL:
        raise InputError(f"{where} has the label {label}: {expected}")
    return image, int(label)
