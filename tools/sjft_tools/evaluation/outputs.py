"""What 'sjft evaluate', 'sjft fuse' and 'sjft harden' share: where their results go.

Of several outputs a kill may leave the first ones. The same command, given again, knows them by the
models and the images that they name, and goes on behind them.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from sjft.image_lmdb import ImageLmdb
from sjft_tools import atomic
from sjft_tools.atomic import new_file
from sjft_tools.evaluation.details import write_details
from sjft_tools.evaluation.protocol import Protocol
from sjft_tools.evaluation.result import Result
from sjft_tools.evaluation.scorer import CHUNK, score_images
from sjft_tools.evaluation.scores_file import (
    Scores,
    describe_model,
    read_scores,
    scores_of,
    write_scores,
)
from sjft_tools.evaluation.trained_net import TrainedNet
from sjft_tools.figures import new_figure
from sjft_tools.json_file import read_json, write_json
from sjft_tools.unfinished_outputs import unfinished_outputs
from sjft_tools.work_folder import keeping


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name outputs."""
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument(
        "--details",
        metavar="FOLDER",
        help="write there: the classes and the confusion matrix as CSV, the matrix and the most "
        "confident mistakes as pictures",
    )


def outputs_left(args: argparse.Namespace) -> list[str]:
    """Return unfinished_outputs of `args`; refuse pictures where matplotlib is missing."""
    if args.details is not None:
        new_figure(1, 1)
    return unfinished_outputs((args.scores, args.json, args.details), args.force)


def check_own(left: Sequence[str], models: list[dict[str, Any]], fingerprint: str) -> None:
    """Raise InputError unless all outputs `left` are of these models and images.

    `models`: as in Scores; `fingerprint`: of the images.
    """
    for path in left:
        if _origin(path) != (models, fingerprint):
            atomic.refuse_existing(path, force=False)
        atomic.tidy(path)
        print(f"goes on behind {path}, which an unfinished run left", file=sys.stderr)


def _origin(path: str) -> tuple[Any, Any] | None:
    """Return the models and the images' fingerprint that an output names, None if it does not."""
    try:
        if zipfile.is_zipfile(path):
            scores = read_scores(path)
            return scores.models, scores.fingerprint
        content = read_json(path)
        return content["models"], content.get("test_fingerprint", content.get("target_fingerprint"))
    except (OSError, ValueError, KeyError, TypeError):  # an InputError is a ValueError
        return None


def scores_for(
    args: argparse.Namespace,
    images: ImageLmdb,
    net: TrainedNet,
    protocol: Protocol,
    left: Sequence[str],
) -> Scores:
    """Return the scores of all images: those in args.scores if that is `left`, else computed ones.

    Raises InputError if an output in `left` is not of this net and these images.
    """
    model = describe_model(args.deploy, args.weights, net.output, protocol.as_json())
    check_own(left, [model], images.fingerprint)
    if args.scores in left:
        return read_scores(args.scores)._replace(models=[model])  # with its keys in this order
    with scores_output(args.scores, args.force) as partial:
        return _computed_scores(args, images, net, protocol, model, partial)


def _computed_scores(
    args: argparse.Namespace,
    images: ImageLmdb,
    net: TrainedNet,
    protocol: Protocol,
    model: dict[str, Any],
    partial: str | None,
) -> Scores:
    """Score all images, and write the scores file `partial`, args.scores' unfinished name, if any.

    With a scores file, a run that was killed goes on where it was.
    """
    if partial is None:
        scores = score_images(net, images, protocol, args.batch_size, None)
        return scores_of(images, scores, [model])
    plan = {
        **model,
        "test_fingerprint": images.fingerprint,
        "batch_size": args.batch_size,
        "chunk": CHUNK[protocol.crops],
        "gpu": args.gpu is not None,
    }
    with keeping(args.scores, plan) as kept:
        scores = score_images(net, images, protocol, args.batch_size, kept)
        found = scores_of(images, scores, [model])
        write_scores(partial, found)
    return found


@contextlib.contextmanager
def scores_output(path: str | None, force: bool) -> Iterator[str | None]:
    """Hold the scores file's lock while its scores are computed; yield where to write it."""
    if path is None:
        yield None
    else:
        with new_file(path, force) as partial:
            yield partial


def report(
    scores: Scores, images: ImageLmdb | None, args: argparse.Namespace, left: Sequence[str]
) -> None:
    """Print the accuracies of `scores`, and write what `args` asks for besides the scores.

    `images`: the LMDB that they are of, needed for args.details alone; `left`: outputs that are
    there already.
    """
    result = Result(scores)
    print(result.text())
    if args.json is not None:
        write_json(args.json, result.as_json(), args.force, left)
    if args.details is not None and images is not None:
        write_details(args.details, result, images, args.force)
