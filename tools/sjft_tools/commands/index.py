"""Write the side files for an image LMDB that Caffe's own tools made, as convert_imageset.

Every record is read and decoded once; the LMDB itself is not changed.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from sjft.errors import InputError
from sjft.record_lmdb import KEYS_FILE
from sjft.side_file import IMAGES, SIDE_FILE, read_side_file
from sjft_tools.atomic import new_files_in, refuse_existing
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.foreign_lmdb import has_running_keys, read_contents
from sjft_tools.image_lmdb_writer import write_image_side_files
from sjft_tools.image_sets.class_names import check_class_names, read_class_names
from sjft_tools.lmdb_writer import save_array


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lmdb", metavar="LMDB", help="folder with data.mdb")
    parser.add_argument(
        "--class-names", metavar="FILE", help="one name a line, the first for label 0"
    )
    parser.add_argument(
        "--max-bad-images",
        type=integer_at_least(0),
        default=0,
        metavar="N",
        help="images that may be undecodable: they stay, and are passed over when the LMDB is used",
    )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    if not os.path.isdir(args.lmdb):
        raise InputError(f"the LMDB {args.lmdb} does not exist: expected a folder with data.mdb")
    side_file = os.path.join(args.lmdb, SIDE_FILE)
    refuse_existing(side_file, args.force)
    if os.path.exists(side_file):
        # --force must not turn neighbours into images
        read_side_file(args.lmdb, IMAGES, "image")
    names = read_class_names(args.class_names) if args.class_names is not None else []
    contents = read_contents(args.lmdb, args.max_bad_images)
    if names:
        check_class_names(names, int(contents.labels.max()), args.class_names)
    info: dict[str, Any] = {
        "count": len(contents.keys),
        "fingerprint": contents.fingerprint,
        "probe": contents.probe,
    }
    with new_files_in(args.lmdb, SIDE_FILE, args.force) as folder:
        if not has_running_keys(contents.keys):
            info["key_format"] = None
            save_array(os.path.join(folder, KEYS_FILE), contents.keys)
        write_image_side_files(folder, info, contents.labels, names, contents.sides)
    classes = len(set(contents.labels.tolist()))
    bad = f"; {contents.bad} of them cannot be decoded" if contents.bad else ""
    print(f"indexed {len(contents.keys)} images, {classes} classes, of {args.lmdb}{bad}")
