"""Draw some target images, each beside its 1st, 10th, 20th, 30th and 40th neighbour."""

from __future__ import annotations

import argparse

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.atomic import new_file, refuse_existing
from sjft_tools.command import add_force, integer_at_least, progress
from sjft_tools.gallery import choose_targets, draw_gallery, gallery_row, ordinal
from sjft_tools.recorded_paths import recorded_path

_RANKS = (1, 10, 20, 30, 40)
_MOST_TARGETS = 200  # a picture of 32,000 pixels; few viewers open a larger one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("neighbours", metavar="NEIGHBORS_LMDB", help="what 'sjft retrieve' wrote")
    parser.add_argument("output", metavar="OUT.png", help="the picture to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--targets",
        type=integer_at_least(1),
        default=8,
        metavar="N",
        help="how many target images, spread evenly over the classes",
    )
    which.add_argument(
        "--indices",
        type=integer_at_least(0),
        nargs="+",
        metavar="I",
        help="these target images, numbered from 0 in key order",
    )
    parser.add_argument(
        "--ranks",
        type=integer_at_least(1),
        nargs="+",
        metavar="R",
        help="these neighbours, the nearest is 1 (default: those of 1, 10, 20, 30, 40 that were "
        "retrieved)",
    )
    for role in ("target", "source"):
        parser.add_argument(
            f"--{role}",
            metavar="LMDB",
            help=f"the {role} images (default: where 'sjft retrieve' read them)",
        )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    refuse_existing(args.output, args.force)
    if not args.output.lower().endswith(".png"):
        raise InputError(f"the output {args.output} must end in .png")
    neighbours = NeighbourLmdb(args.neighbours)
    target = ImageLmdb(recorded_path(neighbours, "target", args.target), "target")
    source = ImageLmdb(recorded_path(neighbours, "source", args.source), "source")
    neighbours.check_matches(target, source)
    ranks = args.ranks or [rank for rank in _RANKS if rank <= neighbours.k]
    if max(ranks) > neighbours.k:
        raise InputError(
            f"--ranks asks for neighbour {max(ranks)}, but {args.neighbours} holds the first "
            f"{neighbours.k}"
        )
    chosen = args.indices or choose_targets(target.labels, args.targets)
    if len(chosen) > _MOST_TARGETS:
        raise InputError(
            f"{len(chosen)} target images do not fit a picture: expected at most {_MOST_TARGETS}"
        )
    if max(chosen) >= target.count:
        raise InputError(
            f"--indices asks for image {max(chosen)}, but {target.path} holds {target.count}, "
            f"numbered from 0"
        )
    rows = [gallery_row(target, source, neighbours, i, ranks) for i in progress(chosen, "gallery")]
    header = ["target", *(f"{ordinal(rank)} neighbour" for rank in ranks)]
    with new_file(args.output, args.force) as partial:
        draw_gallery(rows, header, partial)
    print(f"drew {len(rows)} target images and {len(ranks)} neighbours of each: {args.output}")
