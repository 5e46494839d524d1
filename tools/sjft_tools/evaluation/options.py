"""The options that say how a net is shown images, and what follows from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import add_mean, check_mean, integer_at_least
from sjft_tools.evaluation.protocol import DENSE, ONE, TEN, Protocol
from sjft_tools.evaluation.trained_net import TrainedNet

# The published protocol, for the nets that it was published for.
_SHORTER = 256
_CROPS = range(128, _SHORTER + 1)
_SCALES = (256, 384, 512)
_MEAN = (104.0, 117.0, 123.0)


def add_scoring(parser: argparse.ArgumentParser, many: str) -> None:
    """Declare the options; `many`: the choices of --crops besides 1, in words for its help."""
    choices = [ONE, TEN, DENSE] if DENSE in many else [ONE, TEN]
    parser.add_argument(
        "--crops", choices=choices, default=ONE, help=f"1: the central crop; {many}"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--resize",
        type=integer_at_least(1),
        metavar="N",
        help="warp images to N x N pixels before the crop, which is as large as the net's input",
    )
    size.add_argument(
        "--resize-shorter",
        type=integer_at_least(1),
        metavar="N",
        help=f"scale the images' shorter side to N pixels before the crop (default: {_SHORTER} for "
        f"inputs of {_CROPS[0]} to {_CROPS[-1]} pixels; for others images keep their stored size)",
    )
    if DENSE in choices:
        size.add_argument(
            "--scales",
            type=integer_at_least(1),
            nargs="+",
            metavar="N",
            help=f"for dense: scale the images' shorter side to N pixels, for each N (default: "
            f"{' '.join(map(str, _SCALES))})",
        )
    add_mean(parser, list(_MEAN))
    parser.add_argument(
        "--output", metavar="BLOB", help="the blob with the scores (default: the net's only output)"
    )
    parser.add_argument(
        "--batch-size",
        type=integer_at_least(1),
        default=10,
        metavar="N",
        help="views per forward pass",
    )
    parser.add_argument(
        "--gpu", type=integer_at_least(0), metavar="N", help="number of the GPU (default: the CPU)"
    )
    parser.add_argument(
        "--scores",
        metavar="FILE.npz",
        help="write every image's scores there too; a run that is killed can go on then",
    )


def size_options(resize: int | None, shorter: int | None, crop: int) -> list[str]:
    """Return the options of add_scoring that size images so before the crop.

    None for a crop to which the published size belongs. `resize`, `shorter`, `crop`: in pixels, as
    in a Protocol.
    """
    if crop in _CROPS:
        return []
    if resize is not None:
        return ["--resize", str(resize)]
    return [] if shorter is None else ["--resize-shorter", str(shorter)]


def mean_options(mean: Sequence[float]) -> list[str]:
    """Return the options of add_scoring that subtract `mean`, B, G, R; none for the default."""
    if tuple(mean) == _MEAN:
        return []
    return ["--mean", *(np.format_float_positional(np.float32(each), trim="-") for each in mean)]


def check_scoring(args: argparse.Namespace) -> None:
    """Raise InputError if options of add_scoring do not go together."""
    scales = getattr(args, "scales", None)
    if args.crops == DENSE and (args.resize is not None or args.resize_shorter is not None):
        raise InputError(
            "--crops dense shows whole images: expected --scales instead of --resize and "
            "--resize-shorter"
        )
    if args.crops != DENSE and scales is not None:
        raise InputError(f"--scales is for --crops dense, got --crops {args.crops}")
    if scales is not None and len(set(scales)) < len(scales):
        raise InputError(f"--scales names a size twice: {' '.join(map(str, scales))}")
    check_mean(args.mean)


def make_scorer(args: argparse.Namespace, images: ImageLmdb) -> tuple[TrainedNet, Protocol]:
    """Build the net and choose the protocol that `args` ask for.

    Raises InputError if options do not go together, the net cannot be built or loaded, or `images`
    have labels beyond its classes.
    """
    check_scoring(args)
    scales = getattr(args, "scales", None)
    dense = (tuple(scales or _SCALES)) if args.crops == DENSE else ()
    net = TrainedNet(args.deploy, args.weights, args.output, args.gpu, dense)
    largest = int(images.labels.max())
    if largest >= net.classes:
        raise InputError(
            f"{images.path} has labels up to {largest}, but the output '{net.output}' of "
            f"{args.deploy} has {net.classes} classes: expected labels up to {net.classes - 1}"
        )
    shorter = args.resize_shorter
    is_published = not dense and args.resize is None and net.crop in _CROPS
    if shorter is None and is_published:
        shorter = _SHORTER
    mean = tuple(args.mean)
    return net, Protocol(args.crops, args.resize, shorter, dense, net.crop, mean)
