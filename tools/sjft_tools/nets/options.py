"""Options that commands which write nets share; most have the data layers' own names."""

from __future__ import annotations

import argparse
from dataclasses import replace

from sjft_tools.command import integer_at_least
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.target_set import TASK, Schedule


def even_size(text: str) -> int:
    """A batch size: half target, half source."""
    size = integer_at_least(2)(text)
    if size % 2:
        raise argparse.ArgumentTypeError(f"expected an even number, got {text!r}")
    return size


def add_training_options(parser: argparse.ArgumentParser, schedule: Schedule) -> None:
    """Add the options that say what of neighbours, batches and statistics training uses, how long.

    `schedule` has the defaults; see schedule_of.
    """
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
    some = integer_at_least(1)
    parser.add_argument(
        "--iter-size",
        type=some,
        default=schedule.iter_size,
        metavar="N",
        help="batches to an iteration, which steps by their mean gradient",
    )
    parser.add_argument(
        "--max-iter", type=some, default=schedule.max_iter, metavar="N", help="iterations"
    )
    parser.add_argument(
        "--stepsize",
        type=some,
        metavar="N",
        help=f"iterations until the learning rate falls to a tenth (default: {schedule.step} of "
        f"{schedule.max_iter}, of another --max-iter the same share)",
    )
    parser.add_argument(
        "--frozen-statistics",
        action="store_true",
        help="BatchNorm keeps the stored statistics in training, too; without it, it uses those of "
        "each batch, which iter_size does not make larger",
    )


def schedule_of(args: argparse.Namespace, schedule: Schedule, origin: str) -> Schedule:
    """`schedule` as the options change it; `origin` says where numbers of one's own come from."""
    step = args.stepsize or max(1, args.max_iter * schedule.step // schedule.max_iter)
    if (step, args.max_iter) == (schedule.step, schedule.max_iter):
        return replace(schedule, iter_size=args.iter_size)
    interval = min(schedule.test_interval, args.max_iter)
    return Schedule(step, args.max_iter, origin, interval, args.iter_size)


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
