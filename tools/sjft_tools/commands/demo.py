"""Run the whole method on embedded data: handwritten digits borrow from drawn letters and signs.

Draws the images, converts them, fits bins, retrieves neighbours, trains with and without the source
by 'caffe train', evaluates both and prints the comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sjft_tools.command import add_force, integer_at_least
from sjft_tools.demo.runner import Settings, run_demo
from sjft_tools.nets.demo import Demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sjft demo`."""
    some = integer_at_least(1)
    parser.add_argument("--data", type=Path, default="data", help="folder of the data bases")
    parser.add_argument("--out", type=Path, default="build/demo", help="folder of everything else")
    parser.add_argument(
        "--seed", type=some, default=1, help="draws images, choice, weights, batches"
    )
    parser.add_argument("--seeds", type=some, default=1, help="repeat with as many seeds in a row")
    parser.add_argument("--iterations", type=some, default=Demo().max_iter, help="of each training")
    parser.add_argument("--per-class", type=some, default=3, help="training digits of each class")
    parser.add_argument(
        "--glyphs", type=some, default=200, help="source images of each glyph class"
    )
    parser.add_argument("--k", type=some, default=300, help="neighbours kept for each target image")
    parser.add_argument(
        "--with-random",
        action="store_true",
        help="also train with random source images, as a control",
    )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    run_demo(Settings(**vars(args)))
