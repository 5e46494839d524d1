"""Report what a neighbour LMDB selects at each K_0: images, classes, overlap, distances.

A run that was killed goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import MIN_LEVEL, Levels, read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.selection import check_neighbourhood_sizes, neighbourhood_sizes
from sjft_tools.atomic import new_file
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.json_file import write_json
from sjft_tools.neighbour_report.counting import count
from sjft_tools.neighbour_report.figure import draw_figure
from sjft_tools.neighbour_report.report import ENOUGH, FORMAT, as_json, as_text
from sjft_tools.recorded_paths import recorded_path
from sjft_tools.unfinished_outputs import unfinished_outputs

_K0S = (50, 100, 300, 1000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("neighbours", metavar="NEIGHBORS_LMDB", help="what 'sjft retrieve' wrote")
    parser.add_argument(
        "--k0",
        type=integer_at_least(1),
        nargs="+",
        metavar="K",
        help="report on these (default: those of 50, 100, 300, 1000 that the neighbours reach)",
    )
    parser.add_argument(
        "--want",
        type=integer_at_least(1),
        default=ENOUGH,
        metavar="N",
        help="suggest the least K_0 that selects N source images",
    )
    parser.add_argument(
        "--levels", metavar="FILE", help="a levels file: image i then has K_0 x level neighbours"
    )
    parser.add_argument(
        "--min-source-per-class",
        type=integer_at_least(0),
        default=50,
        metavar="N",
        help="tell how many classes JointDataLayer would drop for having fewer selected images",
    )
    for role, use in (("target", ", read only with --levels"), ("source", "")):
        parser.add_argument(
            f"--{role}",
            metavar="LMDB",
            help=f"the {role} images{use} (default: where 'sjft retrieve' read them)",
        )
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    parser.add_argument("--figure", metavar="FILE.png", help="draw it")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    left = unfinished_outputs((args.json, args.figure), args.force)
    if args.figure is not None and not args.figure.lower().endswith(".png"):
        raise InputError(f"the output {args.figure} must end in .png")
    neighbours = NeighbourLmdb(args.neighbours)
    source = ImageLmdb(recorded_path(neighbours, "source", args.source), "source")
    if neighbours.info["source_fingerprint"] != source.fingerprint:
        raise InputError(
            f"{args.neighbours} was computed for another source LMDB than {source.path}: expected "
            f"the one with the fingerprint {neighbours.info['source_fingerprint'][:15]}..."
        )
    levels = Levels(np.full(neighbours.count, MIN_LEVEL, np.int64), None)
    if args.levels is not None:
        target = ImageLmdb(recorded_path(neighbours, "target", args.target), "target")
        neighbours.check_matches(target, source)
        levels = read_levels(args.levels, target)
    sizes = _sizes(args.k0, neighbours, levels)
    # of stated K_i no K_0 is a part: what each K_0 selects is then told for equal levels
    reach = np.ones_like(levels.levels) if levels.neighbours is not None else levels.levels
    counts = count(neighbours, source.count, reach, sizes)
    report = as_json(counts, source, args.want, args.min_source_per_class)
    print(as_text(report))
    if args.json is not None:
        content = {
            "format": FORMAT,
            "neighbours": args.neighbours,
            "target_fingerprint": neighbours.info["target_fingerprint"],
            "source_fingerprint": source.fingerprint,
            "k": neighbours.k,
            "levels": args.levels,
            **report,
        }
        if not write_json(args.json, content, args.force, left):
            print(f"goes on behind {args.json}, which an unfinished run left", file=sys.stderr)
    if args.figure is not None:
        with new_file(args.figure, args.force) as partial:
            draw_figure(report, counts, partial)
        print(f"drew {args.figure}")


def _sizes(
    given: list[int] | None, neighbours: NeighbourLmdb, levels: Levels
) -> dict[int | None, np.ndarray]:
    """Return for each K_0 to report on, ascending, the number of neighbours of every target image.

    For a levels file that states these numbers: they alone, under None.
    """
    if levels.neighbours is not None:
        if given is not None:
            raise InputError("the levels file states the numbers of neighbours: leave out --k0")
        check_neighbourhood_sizes(levels.neighbours, neighbours.k, neighbours.name)
        return {None: levels.neighbours}
    most = neighbours.k // int(levels.levels.max())
    chosen = given or [k0 for k0 in _K0S if k0 <= most] or [max(1, most)]
    return {
        k0: neighbourhood_sizes(levels.levels, k0, neighbours.k, neighbours.name)
        for k0 in sorted(set(chosen))
    }
