"""Draw every target image's source images at random instead of retrieving them.

For the paper's comparisons: joint training with all source samples (a K of at least the number of
source images divided by that of target images), and with as many random ones as are selected
otherwise (--images). Training reads the result as it reads that of 'sjft retrieve'.
"""

from __future__ import annotations

import argparse

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import refuse_existing
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.exclusion import read_exclusions
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.random_neighbours import deal, draw_pool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET_LMDB", help="the target images")
    parser.add_argument("source", metavar="SOURCE_LMDB", help="the images to draw from")
    parser.add_argument("neighbours", metavar="NEIGHBORS_LMDB", help="the folder to write")
    parser.add_argument(
        "--k", type=integer_at_least(1), required=True, help="source images per target image"
    )
    parser.add_argument(
        "--images",
        type=integer_at_least(1),
        metavar="P",
        help="draw from so many random source images only (default: all)",
    )
    parser.add_argument(
        "--exclude", metavar="FILE", help="source images that are to take no part, one key a line"
    )
    parser.add_argument("--seed", type=integer_at_least(0), default=1, help="of all draws")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    refuse_existing(args.neighbours, args.force)
    target = ImageLmdb(args.target, "target")
    source = ImageLmdb(args.source, "source")
    candidates = np.arange(source.count)
    excluded = 0
    if args.exclude is not None:
        positions = read_exclusions(args.exclude, source)
        excluded = len(positions)
        candidates = np.delete(candidates, positions)
    if args.images is not None:
        candidates = draw_pool(candidates, args.images, args.seed)
    if args.k > len(candidates):
        raise InputError(
            f"--k {args.k} is larger than the {len(candidates)} source images to draw from"
        )
    indices = deal(target.count, args.k, candidates, args.seed)
    distances = np.zeros(indices.shape, np.float32)
    info = {"bank": "random", "seed": args.seed, "pool": len(candidates), "excluded": excluded}
    write_neighbours(args.neighbours, target, source, indices, distances, info, args.force)
    distinct = len(np.unique(indices))
    print(
        f"{args.neighbours}: {args.k} random source images for each of {target.count} images, "
        f"{distinct} different ones of {source.count}"
    )
