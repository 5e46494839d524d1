"""Write images into an LMDB, for the layers of sjft and for Caffe's native Data layer.

Records are Caffe's Datum under running numbers; JPEG and PNG bytes stay as they are, unless an
option resizes the images. Every image is decoded once, so that training meets no bad one. A
conversion that was stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os

from sjft.cores import cores
from sjft.errors import InputError
from sjft.randomness import permutation
from sjft.side_file import IMAGES
from sjft_tools.atomic import resumable_folder
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.conversion import is_begun, write_images
from sjft_tools.image_files import Storage
from sjft_tools.image_sets import (
    ImageSet,
    caltech256,
    class_folders,
    flowers102,
    imagenet,
    joined,
    list_file,
    mit67,
    places205,
    stanford_dogs,
    tiny_imagenet,
)
from sjft_tools.lmdb_writer import refuse_other_contents

#: form -> the module that reads it, and what it is
FORMS = {
    "list": (list_file, "a text file with one 'path label' a line"),
    "folder": (class_folders, "a folder that holds one folder per class"),
    "joined": (joined, "several image LMDBs, behind one another"),
    "stanford-dogs": (stanford_dogs, "Stanford Dogs as published"),
    "flowers102": (flowers102, "Oxford Flowers 102 as published"),
    "caltech256": (caltech256, "Caltech-256 as published"),
    "mit67": (mit67, "MIT Indoor 67 as published"),
    "imagenet": (imagenet, "ImageNet ILSVRC 2012 as published"),
    "places205": (places205, "Places205 as published"),
    "tiny-imagenet": (tiny_imagenet, "Tiny ImageNet as published"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per form, each with the form's arguments and the common ones."""
    forms = parser.add_subparsers(dest="form", required=True)
    for form, (module, text) in FORMS.items():
        form_parser = forms.add_parser(form, help=text, description=f"{__doc__} From {text}.")
        module.add_arguments(form_parser)
        _add_common_arguments(form_parser)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT_LMDB", help="the folder to write")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--resize",
        type=integer_at_least(1),
        metavar="N",
        help="warp to N x N pixels and encode anew (default: keep size and bytes)",
    )
    size.add_argument(
        "--resize-shorter",
        type=integer_at_least(1),
        metavar="N",
        help="scale the shorter side to N pixels and encode anew (default: keep size and bytes)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        choices=range(1, 101),
        default=95,
        metavar="Q",
        help="of JPEGs that are encoded anew, 1 to 100; all else becomes PNG, without loss",
    )
    parser.add_argument(
        "--shuffle",
        type=integer_at_least(0),
        metavar="SEED",
        help="store in random order, for Caffe's native Data layer, which reads in order; the "
        "layers of sjft shuffle for themselves (default: the order of the list or folders)",
    )
    parser.add_argument(
        "--on-bad",
        choices=("error", "skip"),
        default="error",
        help="what an unreadable image does: end the run, or be named, counted and left out",
    )
    parser.add_argument(
        "--workers",
        type=integer_at_least(1),
        default=cores(),
        metavar="N",
        help="processes that read, resize and encode; the result does not depend on it",
    )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    if args.force:
        refuse_other_contents(args.output, IMAGES)
    storage = Storage(args.resize, args.resize_shorter, args.quality)
    with resumable_folder(args.output, args.force, keep=is_begun) as work:
        images = FORMS[args.form][0].read(args, os.path.join(work, "scratch"))
        _refuse_inside(args.output, images.folder)
        if args.shuffle is not None:
            images = _shuffled(images, args.shuffle)
        labels, left_out = write_images(images, work, storage, args.on_bad == "skip", args.workers)
    classes = f"{len(set(labels.tolist()))} classes (labels {labels.min()} to {labels.max()})"
    print(
        f"wrote {len(labels)} images, {classes}, to {args.output}"
        + (f"; left out {left_out} unreadable ones" if left_out else "")
    )


def _refuse_inside(output: str, folder: str | None) -> None:
    """Raise InputError if `output` lies in `folder`: the next run would take it for a class."""
    if folder is None:
        return
    outer = os.path.realpath(folder)
    if os.path.commonpath([outer, os.path.realpath(output)]) == outer:
        raise InputError(f"the output {output} lies in {folder}: expected a place outside of it")


def _shuffled(images: ImageSet, seed: int) -> ImageSet:
    order = permutation(len(images.entries), seed, "order of conversion")
    return images._replace(entries=[images.entries[i] for i in order])
