"""Train a net as 'caffe train' does, with a progress bar, a CSV of all values that Caffe displays,
snapshots that are complete or not there, and a way to go on after any end: Ctrl-C, a batch system's
signals and kill -9 included."""

from __future__ import annotations

import argparse
import sys

from sjft_tools.outlet import let_go
from sjft_tools.training.launcher import run_plan
from sjft_tools.training.plan import make_plan
from sjft_tools.training.screen import Screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "solver",
        metavar="SOLVER.prototxt",
        help="solver to run; paths in it are seen from the current folder, as caffe sees them",
    )
    parser.add_argument(
        "--weights", metavar="FILE[,FILE...]", help="start from the weights in .caffemodel files"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--snapshot", metavar="FILE", help="go on from this .solverstate")
    start.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest complete snapshot of the solver's snapshot_prefix; from the "
        "beginning (and --weights) if there is none",
    )
    parser.add_argument(
        "--gpu",
        type=_gpus,
        metavar="N[,N...]",
        help="numbers of the GPUs, one process on each (default: as the solver's solver_mode and "
        "device_id say)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="remove the snapshots of this snapshot_prefix that are in the way: all, or after "
        "--snapshot the later ones",
    )


def _gpus(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected different numbers such as 0,1, got {text!r}")
    return [int(number) for number in numbers]


def run(args: argparse.Namespace) -> None:
    """Train. Leaves with status 1 if that failed, with 128 + the signal's number if it stopped."""
    screen = Screen("sjft train")
    try:
        ending = run_plan(make_plan(args), screen)
        screen.say(f"error: {ending.text}" if 0 < ending.status < 128 else ending.text)
    finally:
        let_go()
    sys.exit(ending.status)
