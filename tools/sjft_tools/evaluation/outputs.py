"""What 'sjft evaluate' and 'sjft fuse' share: where their results go."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from sjft.image_lmdb import ImageLmdb
from sjft_tools import atomic
from sjft_tools.atomic import new_file
from sjft_tools.evaluation.details import write_details
from sjft_tools.evaluation.result import Result
from sjft_tools.evaluation.scores_file import Scores
from sjft_tools.gallery import new_figure


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name outputs."""
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument(
        "--details",
        metavar="FOLDER",
        help="write there: the classes and the confusion matrix as CSV, the matrix and the most "
        "confident mistakes as pictures",
    )


def refuse_outputs(args: argparse.Namespace) -> None:
    """Raise InputError if an output exists without --force, two are one, or one cannot be drawn."""
    atomic.refuse_outputs((args.scores, args.json, args.details), args.force)
    if args.details is not None:
        new_figure(1, 1)  # where matplotlib is missing, let it be known before the work


@contextlib.contextmanager
def scores_output(path: str | None, force: bool) -> Iterator[str | None]:
    """Hold the scores file's lock while its scores are computed; yield where to write it."""
    if path is None:
        yield None
    else:
        with new_file(path, force) as partial:
            yield partial


def report(scores: Scores, images: ImageLmdb | None, args: argparse.Namespace) -> None:
    """Print the accuracies of `scores`, and write what `args` asks for besides the scores.

    `images`: the LMDB that they are of, needed for args.details alone.
    """
    result = Result(scores)
    print(result.text())
    if args.json is not None:
        with new_file(args.json, args.force) as partial:
            text = json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n"
            Path(partial).write_text(text, encoding="utf-8")
    if args.details is not None and images is not None:
        write_details(args.details, result, images, args.force)
