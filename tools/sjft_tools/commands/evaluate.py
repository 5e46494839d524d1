"""Measure a trained net's accuracy on an image LMDB: one crop per image, ten, or densely.

Prints top-1, top-5 and mean per-class accuracy, with their 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse

from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import add_force
from sjft_tools.evaluation.options import add_scoring, check_scoring, make_scorer
from sjft_tools.evaluation.outputs import add_outputs, outputs_left, report, scores_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deploy", metavar="DEPLOY.prototxt", help="net with one square input")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel file")
    parser.add_argument("test", metavar="TEST_LMDB", help="labelled images")
    add_scoring(
        parser,
        "10: corners and centre, each mirrored too; dense: whole images and their mirror images "
        "at several scales, for a fully convolutional net. Softmax scores are averaged",
    )
    add_outputs(parser)
    add_force(parser)


#: Raises InputError if options do not go together.
check = check_scoring


def run(args: argparse.Namespace) -> None:
    left = outputs_left(args)
    images = ImageLmdb(args.test, "test")
    net, protocol = make_scorer(args, images)
    scores = scores_for(args, images, net, protocol, left)
    print(f"view          {protocol.words()}")
    report(scores, images, args, left)
