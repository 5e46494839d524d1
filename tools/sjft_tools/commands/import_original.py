"""Turn a text file of the authors' fork of Caffe into what it is here: an image LMDB, a neighbour
LMDB, a levels file, a bins file. Images first: the others are bound to the LMDBs made of them.
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from sjft.cores import cores
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import MAX_LEVEL
from sjft.record_lmdb import KEY_FORMAT
from sjft.side_file import IMAGES, probe
from sjft_tools.atomic import refuse_existing, resumable_folder
from sjft_tools.banks import make_bank
from sjft_tools.bins import Bins, BinsInfo
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.conversion import is_begun, write_images
from sjft_tools.image_files import Storage
from sjft_tools.image_sets import Entry, ImageSet
from sjft_tools.levels_writer import write_levels
from sjft_tools.lmdb_writer import refuse_other_contents
from sjft_tools.mapping import prepare
from sjft_tools.migration.text_files import (
    ALEXNET,
    ALEXNET_ALL,
    GABOR,
    read_bins,
    read_levels,
    read_neighbours,
    read_source_list,
    read_target_list,
)
from sjft_tools.neighbour_lmdb_writer import write_neighbours

_QUALITY = 95
_SOURCE, _TARGET = "source-images", "target-images"
_PLACES = {
    "FILE.txt": "the fork's text file",
    "OUT_LMDB": "the folder to write",
    "TARGET_LMDB": "what 'target-images' wrote",
    "SOURCE_LMDB": "what 'source-images' wrote",
    "NEIGHBORS_LMDB": "the folder to write",
    "LEVELS.json": "the file to write",
    "BINS.npz": "the file to write",
}
_BANKS = {ALEXNET: "alexnet", GABOR: "gabor"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per kind of file."""
    kinds = parser.add_subparsers(dest="kind", required=True)

    def add(kind: str, text: str, *places: tuple[str, str]) -> argparse.ArgumentParser:
        sub = kinds.add_parser(kind, help=text, description=f"{__doc__} Here: {text}.")
        for name, metavar in (("file", "FILE.txt"), *places):
            sub.add_argument(name, metavar=metavar, help=_PLACES[metavar])
        add_force(sub)
        return sub

    target, source = ("target", "TARGET_LMDB"), ("source", "SOURCE_LMDB")
    for kind, text in (
        (_SOURCE, "a list of 'path number class' lines, to an image LMDB"),
        (_TARGET, "a list of 'path number class index' lines, to one image LMDB per version"),
    ):
        images = add(kind, text, ("output", "OUT_LMDB"))
        images.add_argument(
            "--root", default="", metavar="DIR", help="folder of the paths, the fork's root_folder"
        )
        images.add_argument(
            "--resize",
            type=integer_at_least(1),
            metavar="N",
            help="warp to N x N pixels and encode anew (default: keep size and bytes)",
        )
    neighbours = add(
        "neighbours",
        "'target nn_1 ... nn_K last_column' lines, to a neighbour LMDB",
        target,
        source,
        ("output", "NEIGHBORS_LMDB"),
    )
    levels = add(
        "levels", "'target level' lines, to a levels file", target, ("output", "LEVELS.json")
    )
    levels.add_argument(
        "--highest",
        type=int,
        choices=range(1, MAX_LEVEL + 1),
        default=MAX_LEVEL,
        metavar="N",
        help="highest_sample_level of the fork's net: higher levels are cut to it",
    )
    for files in (neighbours, levels):
        files.add_argument(
            "--leave-out-validation",
            action="store_true",
            help="leave out the lines of targets that TARGET_LMDB does not reach, as those of the "
            "fork's validation images",
        )
    bins = add(
        "bins", "'min max edge share ...' lines, to a bins file", target, ("output", "BINS.npz")
    )
    bins.add_argument(
        "--weights",
        metavar="FILE",
        help="AlexNet's conv1 and conv2, with which the bins were fitted",
    )


def run(args: argparse.Namespace) -> None:
    if args.kind == _SOURCE:
        paths, labels = read_source_list(args.file)
        _images(args, args.output, paths, labels)
    elif args.kind == _TARGET:
        _target_images(args)
    else:
        refuse_existing(args.output, args.force)
        _IMPORTS[args.kind](args, ImageLmdb(args.target, "target"))


def _images(args: argparse.Namespace, output: str, paths: list[str], labels: list[int]) -> None:
    """Write the image LMDB `output`; an image that cannot be read ends the run."""
    if args.force:
        refuse_other_contents(output, IMAGES)
    entries, storage = _entries(args, paths, labels), _storage(args)
    with resumable_folder(output, args.force, keep=is_begun) as work:
        written, _ = write_images(ImageSet(entries, []), work, storage, False, cores())
    print(f"wrote {len(written)} images, {len(set(labels))} classes, to {output}")


def _entries(args: argparse.Namespace, paths: list[str], labels: list[int]) -> list[Entry]:
    return [Entry(os.path.join(args.root, path), label) for path, label in zip(paths, labels)]


def _storage(args: argparse.Namespace) -> Storage:
    return Storage(args.resize, None, _QUALITY)


def _holds(output: str, entries: list[Entry], storage: Storage) -> bool:
    """Return whether the image LMDB `output` holds `entries`, by its labels and some images."""
    images = ImageLmdb(output, "target")
    if images.labels.tolist() != [entry.label for entry in entries]:
        return False
    found = probe(
        len(entries),
        lambda i: (KEY_FORMAT % i).encode(),
        lambda i: prepare(entries[i], storage).value,
    )
    return bool(images.info["probe"] == found)


def _target_images(args: argparse.Namespace) -> None:
    """Write one LMDB per version: OUT_LMDB, OUT_LMDB_v2 and so on."""
    versions, labels = read_target_list(args.file)
    most = max(map(len, versions))
    base = args.output.rstrip("/")
    refuse_existing(base, args.force)
    outputs = [base, *(f"{base}_v{i}" for i in range(2, most + 1))]
    # The first is written last: as long as it is not there, the others are a stopped run's.
    for i, output in reversed(list(enumerate(outputs))):
        images = [paths[i % len(paths)] for paths in versions]
        if i and not args.force and os.path.exists(output):
            if not _holds(output, _entries(args, images, labels), _storage(args)):
                raise InputError(f"{output} holds other images: expected a name without it")
            print(f"{output} is there already")
            continue
        _images(args, output, images, labels)
    if most > 1:
        options = " ".join(f"--target {output}" for output in outputs)
        print(f"versions of the same images: sjft upgrade-prototxt ... {options}")
    if min(map(len, versions)) < most:
        print(f"images with fewer than {most} versions have some of them more than once")


def _neighbours(args: argparse.Namespace, target: ImageLmdb) -> None:
    source = ImageLmdb(args.source, "source")
    indices, left_out = read_neighbours(
        args.file, target.count, source.count, args.leave_out_validation
    )
    ranks = np.tile(np.arange(indices.shape[1], dtype=np.float32), (target.count, 1))
    info = {"bank": "unknown", "imported_from": os.path.basename(args.file)}
    write_neighbours(args.output, target, source, indices, ranks, info, args.force)
    print(
        f"wrote {indices.shape[1]} neighbours of {target.count} images to {args.output}; the file "
        f"has no distances: their places 0, 1, 2, ... stand for them{_left_out(left_out)}"
    )


def _levels(args: argparse.Namespace, target: ImageLmdb) -> None:
    levels, cut, left_out = read_levels(
        args.file, target.count, args.highest, args.leave_out_validation
    )
    write_levels(args.output, levels, target, args.force)
    note = f"; {cut} above {args.highest} were cut to it" if cut else ""
    print(f"wrote the levels of {target.count} images to {args.output}{note}{_left_out(left_out)}")


def _left_out(lines: int) -> str:
    return f"; left out the lines of {lines} other targets" if lines else ""


def _bins(args: argparse.Namespace, target: ImageLmdb) -> None:
    edges, minimum, maximum = read_bins(args.file)
    if len(edges) == ALEXNET_ALL:
        print(f"of {ALEXNET_ALL} channels the first {ALEXNET} are taken, AlexNet's conv1 and conv2")
        edges, minimum, maximum = edges[:ALEXNET], minimum[:ALEXNET], maximum[:ALEXNET]
    if len(edges) not in _BANKS:
        raise InputError(
            f"{args.file} has bins of {len(edges)} channels, expected AlexNet's conv1 and conv2 "
            f"({ALEXNET} lines), conv1 to conv5 ({ALEXNET_ALL}) or the Gabor bank ({GABOR})"
        )
    bank = make_bank(_BANKS[len(edges)], args.weights, None, None)
    info = BinsInfo(bank.name, bank.resize, bank.weights_checksum, target.fingerprint)
    Bins(info, edges, minimum, maximum).save(args.output, args.force)
    print(f"{args.output}: {edges.shape[1]} bins for each of {len(edges)} channels")


_IMPORTS = {"neighbours": _neighbours, "levels": _levels, "bins": _bins}
