"""Average the scores of several models on the same images, and measure the accuracy of the mean.

Takes what 'sjft evaluate --scores' wrote; nothing is run again. Every model counts alike. Of one
file it measures the accuracy as it is.
"""

from __future__ import annotations

import argparse

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import add_force
from sjft_tools.evaluation.outputs import (
    add_outputs,
    check_own,
    outputs_left,
    report,
    scores_output,
)
from sjft_tools.evaluation.scores_file import Scores, fuse, write_scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="SCORES.npz", nargs="+", help="what 'sjft evaluate --scores' wrote"
    )
    parser.add_argument(
        "--scores", metavar="FILE.npz", help="write the averaged scores there, to be fused again"
    )
    parser.add_argument(
        "--test",
        metavar="LMDB",
        help="the images, which --details draws (default: where 'sjft evaluate' read them)",
    )
    add_outputs(parser)
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    left = outputs_left(args)
    scores = fuse(args.files)
    check_own(left, scores.models, scores.fingerprint)
    images = None if args.details is None else _images(scores, args.test)
    if args.scores not in left:
        with scores_output(args.scores, args.force) as partial:
            if partial is not None:
                write_scores(partial, scores)
    print(f"models        {len(scores.models)}")
    report(scores, images, args, left)


def _images(scores: Scores, given: str | None) -> ImageLmdb:
    """Return the LMDB that the scores are of, from where `given` says or where it was."""
    try:
        images = ImageLmdb(given or scores.path, "test")
    except InputError as error:
        if given is not None:
            raise
        raise InputError(f"{error}; name the LMDB of the scores by --test") from None
    if images.fingerprint != scores.fingerprint:
        raise InputError(
            f"the scores are of other images than those in {images.path}: the fingerprints differ; "
            f"name the LMDB of the scores by --test"
        )
    return images
