"""Tiny ImageNet (Stanford CS231n): 200 of ImageNet's synsets, 500 + 50 images each of 64 x 64."""

from __future__ import annotations

import argparse

from sjft.errors import InputError
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.image_sets.downloads import Downloads, lines_of
from sjft_tools.image_sets.files import Files
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
    refuse_doubles,
)
from sjft_tools.image_sets.word_net import IMAGE, read_synsets, say_empty

_COUNTS = {"train": 100_000, "val": 10_000}
_SYNSETS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """List the images of the split: label i is the i-th synset sorted by WordNet id."""
    downloads = Downloads(args.folder, scratch, "Tiny ImageNet")
    files = downloads.files("the images", ["tiny-imagenet-200", "tiny-imagenet-200.zip"])
    wnids = sorted(read_synsets(*_lines(files, "wnids.txt")))
    check_count(len(wnids), _SYNSETS, "synsets in wnids.txt", args.incomplete)
    words = read_synsets(*_lines(files, "words.txt"))
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    if args.split == "train":
        entries = _train_entries(files, labels)
    else:
        entries = _val_entries(files, labels, args.incomplete)
    say_empty(entries, labels)
    check_count(len(entries), _COUNTS[args.split], f"images in {files.origin}", args.incomplete)
    return ImageSet(entries, [words.get(wnid) or wnid for wnid in wnids])


def _lines(files: Files, name: str) -> tuple[list[str], str]:
    """Return the lines of the file `name`, in whatever folder of `files`, and where it is."""
    for path in files.places:
        if path.rsplit("/", 1)[-1] == name:
            where = f"{files.origin}/{path}"
            return lines_of(files.read(path), where), where
    raise InputError(f"{files.origin} lacks {name}: expected Tiny ImageNet's files")


def _train_entries(files: Files, labels: dict[str, int]) -> list[Entry]:
    entries = []
    for path in sorted(files.places):
        match = IMAGE.fullmatch(path)
        if match and "train" in path.split("/"):
            if match[1] not in labels:
                raise InputError(f"wnids.txt does not name {match[1]}, the synset of {path}")
            entries.append(files.entry(path, labels[match[1]]))
    if not entries:
        raise InputError(
            f"{files.origin} holds no training images: expected names such as "
            f"train/n01443537/images/n01443537_0.JPEG"
        )
    refuse_doubles([entry.path.rsplit("/", 1)[-1] for entry in entries], files.origin)
    return sorted(entries, key=lambda entry: entry.label)


def _val_entries(files: Files, labels: dict[str, int], incomplete: bool) -> list[Entry]:
    lines, where = _lines(files, "val_annotations.txt")
    paths, found = [], []
    for number, line in enumerate(lines, 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels:
            raise InputError(
                f"line {number} of {where} is {line[:80]!r}: expected an image, a tab and a synset "
                f"of wnids.txt"
            )
        paths.append(f"val/images/{fields[0]}")
        found.append(labels[fields[1]])
    return listed_entries(files, paths, found, where, incomplete)
