"""Write a solver and its net anew with other data, schedule and place for snapshots.

What is not given stays as it is. Nothing has to be edited by hand, and the original stays as it is.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from sjft_tools.adapting import NET_FILE, SNAPSHOTS, SOLVER_FILE, adapt, changed
from sjft_tools.command import add_force, integer_at_least, number_above_zero
from sjft_tools.nets.files import output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("solver", metavar="SOLVER.prototxt", help="the solver to start from")
    parser.add_argument(
        "folder",
        metavar="DIR",
        help=f"where {SOLVER_FILE}, {NET_FILE} and the folder {SNAPSHOTS}/ go; made if need be",
    )
    data = {
        "target": ("LMDB", "the target images to train on"),
        "target-test": ("LMDB", "the target images to test on; test_iter follows"),
        "source": ("LMDB", "the source images"),
        "neighbours": ("LMDB", "the neighbours of the target images"),
        "levels": ("FILE", "the levels of the target images"),
    }
    for option, (metavar, text) in data.items():
        parser.add_argument(f"--{option}", metavar=metavar, help=text)
    some = integer_at_least(1)
    parser.add_argument("--k0", type=some, metavar="K0", help="neighbours in use at level 1")
    parser.add_argument("--max-iter", type=some, metavar="N", help="iterations")
    parser.add_argument(
        "--base-lr", type=number_above_zero, metavar="X", help="learning rate at the start"
    )
    parser.add_argument("--stepsize", type=some, metavar="N", help="iterations until it falls")
    parser.add_argument("--snapshot", type=some, metavar="N", help="iterations between snapshots")
    parser.add_argument(
        "--snapshot-name",
        type=_name,
        metavar="NAME",
        help="what the names of snapshots begin with (default: as the solver has it)",
    )
    parser.add_argument("--test-interval", type=some, metavar="N", help="iterations between tests")
    parser.add_argument("--seed", type=some, metavar="N", help="of weights and batches")
    add_force(parser)


def _name(text: str) -> str:
    if not text or os.path.basename(text) != text:
        raise argparse.ArgumentTypeError(f"expected the name of a file, got {text!r}")
    return text


def check(args: argparse.Namespace) -> None:
    """Raise InputError if the solver or its net does not take an option."""
    changed(args.solver, _changes(args))


def run(args: argparse.Namespace) -> None:
    folder = output_folder(args.folder, "the output")
    adapt(args.solver, folder, _changes(args), args.force)
    print(f"wrote {os.path.join(folder, SOLVER_FILE)} and {os.path.join(folder, NET_FILE)}")


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that are given, by name."""
    return {
        name: value
        for name, value in vars(args).items()
        if name not in ("solver", "folder", "force") and value is not None
    }
