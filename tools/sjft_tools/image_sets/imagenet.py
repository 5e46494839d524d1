"""ImageNet ILSVRC 2012: 1,281,167 images of 1,000 synsets to train on, 50,000 to validate.

Label i is the synset that comes i-th when all are sorted by WordNet id, as in Caffe's synsets.txt,
which is the order of published models. The development kit numbers them differently
(ILSVRC2012_ID).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sjft.errors import InputError
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.image_sets.downloads import Downloads, lines_of
from sjft_tools.image_sets.files import Files
from sjft_tools.image_sets.mat_file import integers, numbers, read_mat, strings
from sjft_tools.image_sets.published import (
    add_published_arguments,
    check_count,
    listed_entries,
    refuse_doubles,
)
from sjft_tools.image_sets.word_net import IMAGE, WNID, read_synsets, say_empty

_COUNTS = {"train": 1_281_167, "val": 50_000}
_SYNSETS = 1_000
_NAMED = 10

_TRAIN = ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_train", "train"]
_VAL = ["ILSVRC2012_img_val.tar", "ILSVRC2012_img_val", "val"]
_DEVKIT = [
    "ILSVRC2012_devkit_t12",
    "ILSVRC2012_devkit_t12.tar.gz",
    "ILSVRC2012_devkit_t12.tar",
]
_AUXILIARY = ["caffe_ilsvrc12", "caffe_ilsvrc12.tar.gz"]
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"

#: Labels of the first validation images in Caffe's val.txt: other orders of the classes differ.
_FIRST_VAL_LABELS = [65, 970, 230, 809, 516]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the images."""
    add_published_arguments(parser, list(_COUNTS))


def read(args: argparse.Namespace, scratch: str) -> ImageSet:
    """List the images of the split, and name the classes by their words where a list has them."""
    downloads = Downloads(args.folder, scratch, "ImageNet ILSVRC 2012")
    if args.split == "train":
        files = downloads.files("the training images", _TRAIN, nested=True)
    else:
        files = downloads.files("the validation images", _VAL)
    words = _synsets(downloads, files)
    check_count(len(words), _SYNSETS, "synsets", args.incomplete)
    wnids = sorted(words)
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    if args.split == "train":
        entries = _train_entries(files, labels)
    else:
        entries = _val_entries(downloads, files, labels, args.incomplete)
    say_empty(entries, labels)
    if args.split == "train":
        _check_classes(downloads, entries, wnids, args.incomplete)
    check_count(len(entries), _COUNTS[args.split], f"images in {files.origin}", args.incomplete)
    return ImageSet(entries, [words[wnid] or wnid for wnid in wnids])


def _synsets(downloads: Downloads, files: Files) -> dict[str, str]:
    """Return the synsets and their words, from the first list there is, or the images' folders."""
    for name in ("synset_words.txt", "synsets.txt"):
        found = downloads.document(name, _AUXILIARY)
        if found is not None:
            return read_synsets(lines_of(*found), found[1])
    found = downloads.document("meta.mat", _DEVKIT)
    if found is not None:
        return dict(_devkit_synsets(*found).values())
    wnids = {wnid for path in files.places for wnid in WNID.findall(path)}
    if len(wnids) != _SYNSETS:
        # the labels of some synsets only are known by those of all
        raise InputError(
            f"{files.origin} holds {len(wnids)} of ImageNet's {_SYNSETS:,} synsets: expected all, "
            f"or beside it a list of all: synsets.txt, synset_words.txt, or the development kit "
            f"{_DEVKIT[1]}"
        )
    return dict.fromkeys(wnids, "")


def _devkit_synsets(content: bytes, where: str) -> dict[int, tuple[str, str]]:
    """Map ILSVRC2012_ID to the WordNet id and the words of the synsets that have images."""
    synsets = read_mat(content, where, "synsets")
    fields = {"ILSVRC2012_ID", "WNID", "words", "num_children"}
    if synsets.dtype.names is None or not fields.issubset(synsets.dtype.names):
        raise InputError(
            f"synsets in {where} is no struct with the fields {', '.join(sorted(fields))}: "
            f"expected the development kit's"
        )
    leaves = synsets[numbers(synsets["num_children"], f"num_children in {where}") == 0]
    ids = numbers(leaves["ILSVRC2012_ID"], f"ILSVRC2012_ID in {where}").tolist()
    wnids = strings(leaves["WNID"], f"WNID in {where}")
    if sorted(ids) != list(range(1, len(leaves) + 1)):
        raise InputError(
            f"{where} numbers its {len(leaves)} synsets otherwise than 1, 2, 3 and so on"
        )
    read_synsets(wnids, where)  # whether they are WordNet ids, each once
    return {
        int(number): (wnid, words)
        for number, wnid, words in zip(ids, wnids, strings(leaves["words"], f"words in {where}"))
    }


def _check_classes(
    downloads: Downloads, entries: Sequence[Entry], wnids: Sequence[str], incomplete: bool
) -> None:
    """Raise InputError, or with `incomplete` say, which synsets have not the images published.

    How many these are is known where the development kit is there.
    """
    meta = downloads.document("meta.mat", _DEVKIT)
    published = {} if meta is None else _devkit_counts(*meta)
    found = Counter(wnids[entry.label] for entry in entries)
    differing = [wnid for wnid in wnids if found[wnid] != published.get(wnid, found[wnid])]
    if not differing:
        return
    named = [f"{wnid} {found[wnid]:,} of {published[wnid]:,}" for wnid in differing[:_NAMED]]
    rest = len(differing) - len(named)
    text = (
        f"synsets whose images are not as many as published: {', '.join(named)}"
        f"{f' and {rest:,} synsets more' if rest else ''}"
    )
    if not incomplete:
        raise InputError(f"{text}: expected all; give --incomplete to convert what is there")
    print(text, file=sys.stderr)


def _devkit_counts(content: bytes, where: str) -> dict[str, int]:
    """Map the WordNet ids of the synsets to how many training images they have; {} if untold."""
    synsets = read_mat(content, where, "synsets")
    if not {"WNID", "num_train_images"}.issubset(synsets.dtype.names or ()):
        return {}
    counts = numbers(synsets["num_train_images"], f"num_train_images in {where}")
    return dict(zip(strings(synsets["WNID"], f"WNID in {where}"), map(int, counts)))


def _train_entries(files: Files, labels: dict[str, int]) -> list[Entry]:
    entries = []
    for path in files.places:
        match = IMAGE.fullmatch(path)
        if match:
            if match[1] not in labels:
                raise InputError(
                    f"{files.origin}/{path} is of the synset {match[1]}, which is none of the "
                    f"{len(labels)}: expected ImageNet's of 2012"
                )
            entries.append(files.entry(path, labels[match[1]]))
    if not entries:
        raise InputError(
            f"{files.origin} holds no training images: expected names such as n01440764_10026.JPEG"
        )
    refuse_doubles([entry.path.rsplit("/", 1)[-1] for entry in entries], files.origin)
    return sorted(entries, key=lambda entry: (entry.label, entry.path.rsplit("/", 1)[-1]))


def _val_entries(
    downloads: Downloads, files: Files, labels: dict[str, int], incomplete: bool
) -> list[Entry]:
    """Label the validation images by folders named as synsets, val.txt, or the development kit."""
    foldered = _foldered(files, labels)
    if foldered:
        return foldered
    listed = downloads.document("val.txt", _AUXILIARY)
    truth = downloads.document(_GROUND_TRUTH, _DEVKIT)
    if listed is not None:
        paths, found, where = *_val_list(*listed, len(labels)), listed[1]
    elif truth is not None:
        paths, found, where = *_ground_truth(downloads, truth, labels), truth[1]
    else:
        raise InputError(
            f"nothing tells the labels of the images in {files.origin}: expected val.txt, the "
            f"development kit {_DEVKIT[1]}, or folders named as synsets"
        )
    count = _COUNTS["val"]
    check_count(len(paths), count, f"images in {where}", incomplete)
    if len(paths) == count and found[: len(_FIRST_VAL_LABELS)] != _FIRST_VAL_LABELS:
        raise InputError(
            f"{where} gives the first images the labels {found[: len(_FIRST_VAL_LABELS)]}: "
            f"expected {_FIRST_VAL_LABELS}, in the order of synsets sorted by WordNet id"
        )
    return listed_entries(files, paths, found, where, incomplete)


def _val_list(content: bytes, where: str, classes: int) -> tuple[list[str], list[int]]:
    pairs = []
    for number, line in enumerate(lines_of(content, where), 1):
        path, _, label = line.rpartition(" ")
        if not path or not label.isdecimal() or int(label) >= classes:
            raise InputError(
                f"line {number} of {where} is {line[:80]!r}: expected 'image label', labels from 0 "
                f"to {classes - 1}"
            )
        pairs.append((path.strip(), int(label)))
    return [path for path, _ in pairs], [label for _, label in pairs]


def _ground_truth(
    downloads: Downloads, truth: tuple[bytes, str], labels: dict[str, int]
) -> tuple[list[str], list[int]]:
    """Read the development kit's ILSVRC2012_IDs of the validation images, in their order."""
    lines = lines_of(*truth)
    synsets = _devkit_synsets(*downloads.needed("meta.mat", _DEVKIT))
    try:
        listed = np.array([int(line) for line in lines])
    except ValueError as error:
        raise InputError(f"{truth[1]} does not hold a number a line: {error}") from None
    ids = integers(listed, truth[1], 1, len(synsets)).tolist()
    unknown = [wnid for wnid, _ in synsets.values() if wnid not in labels]
    if unknown:
        raise InputError(
            f"meta.mat names the synset {unknown[0]}, which the list of synsets lacks: expected "
            f"both of ImageNet 2012"
        )
    paths = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, len(ids) + 1)]
    return paths, [labels[synsets[number][0]] for number in ids]


def _foldered(files: Files, labels: dict[str, int]) -> list[Entry]:
    entries = []
    for path in sorted(files.places):
        folder = path.split("/")[-2] if "/" in path else ""
        if folder in labels and path.lower().endswith((".jpeg", ".jpg")):
            entries.append(files.entry(path, labels[folder]))
    refuse_doubles([entry.path.rsplit("/", 1)[-1] for entry in entries], files.origin)
    return entries
