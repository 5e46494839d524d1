"""The options that say which of a net's layers are meant, and how large its images are."""

from __future__ import annotations

import argparse
import re

from sjft_tools.caffemodel import Shape

_INPUT = re.compile(r"([^=]+)=([1-9][0-9]*(?:,[1-9][0-9]*)*)")


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Declare --phase and --input, what view.view() takes."""
    parser.add_argument(
        "--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="which of the net's layers"
    )
    parser.add_argument(
        "--input",
        type=_blob_shape,
        action="append",
        default=[],
        metavar="BLOB=N,C,H,W",
        help="shape of a data layer's top, where the net does not tell it; may be repeated",
    )


def _blob_shape(text: str) -> tuple[str, Shape]:
    """Parse ``blob=N,C,H,W``."""
    match = _INPUT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected BLOB=N,C,H,W, got {text!r}")
    return match.group(1), tuple(int(size) for size in match.group(2).split(","))
