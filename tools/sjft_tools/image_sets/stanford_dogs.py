"""Stanford Dogs (Khosla et al. 2011): 120 breeds, 12,000 images to train on and 8,580 to test."""

from __future__ import annotations

import argparse

import numpy as np

from sjft.errors import InputError
from sjft_tools.image_sets import ImageSet
from sjft_tools.image_sets.downloads import Downloads
from sjft_tools.image_sets.mat_file import integers, read_mat, strings
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
)

_COUNTS = {"train": 12_000, "test": 8_580}
_CLASSES = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """Read train_list.mat or test_list.mat: label i is the breed i + 1 there."""
    downloads = Downloads(args.folder, scratch, "Stanford Dogs")
    content, where = downloads.needed(f"{args.split}_list.mat", ["lists", "lists.tar"])
    paths = strings(read_mat(content, where, "file_list"), f"file_list in {where}")
    labels = integers(read_mat(content, where, "labels"), f"labels in {where}", 1, _CLASSES) - 1
    if len(paths) != len(labels):
        raise InputError(
            f"{where} holds {len(paths)} files and {len(labels)} labels: expected one each"
        )
    check_count(len(paths), _COUNTS[args.split], f"images in {where}", args.incomplete)
    names = _breeds(paths, labels, where)
    files = downloads.files("the images", ["Images", "images.tar"])
    entries = listed_entries(files, paths, labels.tolist(), where, args.incomplete)
    return ImageSet(entries, names)


def _breeds(paths: list[str], labels: np.ndarray, where: str) -> list[str]:
    """Return the breeds' names, which the folders bear after their WordNet id and a hyphen."""
    folder_of: dict[int, str] = {}
    for path, label in zip(paths, labels.tolist()):
        folder = path.split("/")[0]
        if folder_of.setdefault(label, folder) != folder:
            raise InputError(
                f"{where} gives the label {label + 1} to {folder_of[label]} and to {folder}: "
                f"expected one folder per label"
            )
    return [folder_of.get(i, "").partition("-")[2] or f"breed {i + 1}" for i in range(_CLASSES)]
