"""Run the whole method on embedded data: handwritten digits borrow from drawn letters and signs.

Draws the images, runs the experiment prototxt/demo/experiment.yaml on them by 'sjft run', trains
the same net on the digits alone and prints the comparison. Stopped at any moment and started again
it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sjft_tools.command import integer_at_least
from sjft_tools.demo.runner import run_demo
from sjft_tools.demo.settings import Settings
from sjft_tools.nets.demo import DEMO


def add_arguments(parser: argparse.ArgumentParser) -> None:
    some = integer_at_least(1)
    parser.add_argument(
        "--out", type=Path, default="build/demo", metavar="DIR", help="folder of all files"
    )
    parser.add_argument(
        "--seed",
        type=some,
        default=1,
        metavar="N",
        help="of the drawn images, the choice of digits, weights and batches",
    )
    parser.add_argument(
        "--seeds",
        type=some,
        default=1,
        metavar="N",
        help="repeat with N seeds in a row, and show what the rounds add: the later ones "
        "once more without hard samples",
    )
    parser.add_argument(
        "--iterations",
        type=some,
        default=DEMO.max_iter,
        metavar="N",
        help="of the first round and of training on the target alone; later rounds in proportion",
    )
    parser.add_argument(
        "--per-class", type=some, default=3, metavar="N", help="training digits of each class"
    )
    parser.add_argument(
        "--glyphs", type=some, default=200, metavar="N", help="source images of each glyph class"
    )
    parser.add_argument(
        "--k", type=some, default=900, metavar="K", help="neighbours kept for each target image"
    )
    parser.add_argument(
        "--with-random",
        action="store_true",
        help="also train with random source images, as a control",
    )
    parser.add_argument(
        "--force", action="store_true", help="begin anew: remove what an earlier demo left in --out"
    )


def run(args: argparse.Namespace) -> None:
    # On maps as small as the demo's, BLAS threads cost more than they gain.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    print("$ export OPENBLAS_NUM_THREADS=1")
    run_demo(Settings(**vars(args)))
