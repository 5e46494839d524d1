"""Options that commands which write nets share; most have the data layers' own names."""

from __future__ import annotations

import argparse

from sjft_tools.command import integer_at_least
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.target_set import TASK


def even_size(text: str) -> int:
    """A batch size: half target, half source."""
    size = integer_at_least(2)(text)
    if size % 2:
        raise argparse.ArgumentTypeError(f"expected an even number, got {text!r}")
    return size


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what of neighbours, batches and statistics training uses."""
    parser.add_argument(
        "--k0",
        type=integer_at_least(1),
        default=TASK.k0,
        help="nearest neighbours in use per target image at level 1",
    )
    parser.add_argument(
        "--batch-size",
        type=even_size,
        default=TASK.batch_size,
        metavar="B",
        help="images in a batch, half of them target",
    )
    parser.add_argument(
        "--frozen-statistics",
        action="store_true",
        help="BatchNorm keeps the stored statistics in training, too; without it, it uses those of "
        "each batch, which iter_size does not make larger",
    )


def add_data_options(parser: argparse.ArgumentParser, paths: DataPaths) -> None:
    """Add the options that name the data bases, with `paths` as their defaults."""
    data = {
        "target": ("TARGET_LMDB", "target training images"),
        "target_test": ("TEST_LMDB", "target test images"),
        "source": ("SOURCE_LMDB", "source images"),
        "neighbours": ("NEIGHBORS_LMDB", "neighbours of the target training images"),
    }
    for name, (metavar, text) in data.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, default=getattr(paths, name), metavar=metavar, help=text)


def data_paths(args: argparse.Namespace) -> DataPaths:
    """The data bases that the options name."""
    return DataPaths(args.target, args.target_test, args.source, args.neighbours)
