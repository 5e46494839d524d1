"""Find the K nearest source images of every target image (one pass over the source).

Can be stopped or killed at any moment: the same command goes on where it was, to the same result.
The work so far lies in a hidden folder beside the output.
"""

from __future__ import annotations

import argparse
import os
import sys

from sjft_tools.command import add_force, integer_at_least
from sjft_tools.commands.fit_bins import add_backend
from sjft_tools.matching.products import NAMES
from sjft_tools.retrieval.bad_sources import MOST_BAD
from sjft_tools.retrieval.inputs import Paths
from sjft_tools.retrieval.plan import SHARD_SIZE
from sjft_tools.retrieval.request import Request
from sjft_tools.retrieval.run import retrieve
from sjft_tools.work_folder import default_work


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET_LMDB", help="the images that the bins fit")
    parser.add_argument("source", metavar="SOURCE_LMDB", help="the images to choose from")
    parser.add_argument("neighbours", metavar="NEIGHBORS_LMDB", help="the folder to write")
    parser.add_argument(
        "--bins-file",
        required=True,
        metavar="BINS.npz",
        help="what 'sjft fit-bins' wrote; it also says which bank and which image size to use",
    )
    parser.add_argument(
        "--k", type=integer_at_least(1), required=True, help="neighbours to keep per target image"
    )
    parser.add_argument("--weights", metavar="FILE", help="as given to 'sjft fit-bins'")
    parser.add_argument(
        "--exclude", metavar="FILE", help="source images to leave out, as 'sjft leaks' writes it"
    )
    add_backend(parser)
    add_product(parser)
    parser.add_argument(
        "--shard-size",
        type=integer_at_least(1),
        metavar="IMAGES",
        help="source images per shard: the most that is done anew after a kill (default: "
        f"{SHARD_SIZE}, or as in the work that is gone on with)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--shard",
        type=_part,
        metavar="I/N",
        help="do part I (from 1) of N only, then stop; other runs may do other parts at the same "
        "time, on machines that share the folder; 'sjft merge' joins them",
    )
    where.add_argument(
        "--workers",
        type=integer_at_least(1),
        metavar="N",
        help="do the shards in N processes (needs dask.distributed)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="do the shards on the Dask cluster of this scheduler, as tcp://host:8786",
    )
    add_work(parser)
    add_force(parser)


def add_product(parser: argparse.ArgumentParser) -> None:
    """Add --product."""
    parser.add_argument(
        "--product",
        choices=NAMES,
        default="auto",
        help="what multiplies matrices in matching; the result does not depend on it",
    )


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add what 'sjft merge' must be told, too."""
    parser.add_argument(
        "--max-bad-images",
        type=integer_at_least(0),
        default=MOST_BAD,
        metavar="N",
        help="source images that may be undecodable before the run fails",
    )
    parser.add_argument(
        "--work", metavar="DIR", help="the work folder (default: .NAME.work beside the output)"
    )


def _part(text: str) -> tuple[int, int]:
    """An argparse type: I/N with 1 <= I <= N."""
    try:
        part, parts = map(int, text.split("/"))
    except ValueError:
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, got {text!r}")
    return part, parts


def run(args: argparse.Namespace) -> None:
    output = args.neighbours.rstrip("/") or args.neighbours
    paths = Paths(
        args.target, args.source, args.bins_file, args.weights, args.exclude, args.backend
    )
    request = Request(
        paths=paths,
        output=output,
        work=args.work or default_work(output),
        k=args.k,
        shard_size=args.shard_size,
        part=args.shard,
        workers=args.workers,
        scheduler=args.scheduler,
        product=args.product,
        most_bad=args.max_bad_images,
        force=args.force,
    )
    try:
        print(retrieve(request))
    except KeyboardInterrupt:
        if os.path.isdir(request.work):
            kept = f"what is done is kept in {request.work}: the same command goes on from there"
            print(kept, file=sys.stderr)
        raise
