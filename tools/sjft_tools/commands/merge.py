"""Join the parts that 'sjft retrieve --shard' computed, and write the neighbours."""

from __future__ import annotations

import argparse
import os

from sjft.errors import InputError
from sjft_tools.command import add_force
from sjft_tools.commands.retrieve import add_product, add_work
from sjft_tools.retrieval.request import Request
from sjft_tools.retrieval.run import merge
from sjft_tools.retrieval.work_folder import read_plan
from sjft_tools.work_folder import default_work


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "neighbours", metavar="NEIGHBORS_LMDB", help="the folder to write, as in 'sjft retrieve'"
    )
    add_product(parser)
    add_work(parser)
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    output = args.neighbours.rstrip("/") or args.neighbours
    work = args.work or default_work(output)
    stored = read_plan(work)
    if stored is None:
        if os.path.lexists(output):
            raise InputError(
                f"there is nothing to join: the output {output} is there, and no work in {work}"
            )
        raise InputError(
            f"the work folder {work} holds no plan.json: expected the one in which 'sjft retrieve "
            f"--shard' left its shards"
        )
    plan, paths = stored
    request = Request(
        paths=paths,
        output=output,
        work=work,
        k=plan.k,
        shard_size=plan.shard_size,
        part=None,
        workers=None,
        scheduler=None,
        product=args.product,
        most_bad=args.max_bad_images,
        force=args.force,
    )
    print(merge(request))
