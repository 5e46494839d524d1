"""Put the two heads and the joint data layer on any Caffe net that classifies images.

NET is a train_val or a deploy prototxt. Its layers keep their names, so that its published weights
load; its classifier is replaced by one for the target and one for the source. Written are train_val
and solver of joint training and of its baseline on the target alone, and deploy nets with the
target's head and with both.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import add_force, add_mean, check_mean, integer_at_least, number_above_zero
from sjft_tools.grafting.files import SCHEDULE, check_nets, net_texts, remarks, solver_texts
from sjft_tools.grafting.heads import find_heads
from sjft_tools.grafting.images import find_images
from sjft_tools.grafting.nets import Graft, needed_blobs
from sjft_tools.grafting.original import read_original
from sjft_tools.nets.files import output_folder, write
from sjft_tools.nets.joint import DataPaths, Task
from sjft_tools.nets.options import (
    add_data_options,
    add_training_options,
    data_paths,
    schedule_of,
)
from sjft_tools.nets.target_set import TASK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = integer_at_least(1)
    parser.add_argument("net", metavar="NET.prototxt", help="a train_val or deploy net")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the files")
    parser.add_argument(
        "--target-classes", type=count, required=True, metavar="N", help="classes of the target set"
    )
    parser.add_argument(
        "--source-classes", type=count, required=True, metavar="M", help="classes of the source set"
    )
    parser.add_argument("--test-images", type=count, metavar="T", help=_TEST_IMAGES)
    parser.add_argument(
        "--crop", type=count, metavar="S", help="side of the crops, in pixels (default: NET's)"
    )
    add_mean(parser, otherwise="NET's, else 104 117 123")
    parser.add_argument(
        "--scale",
        type=number_above_zero,
        metavar="X",
        help="by which pixels less the mean are multiplied (default: NET's, else 1)",
    )
    add_training_options(parser, SCHEDULE)
    add_data_options(parser, DataPaths())
    add_force(parser)


_TEST_IMAGES = "images of the target's test set (default: as many as --target-test holds)"


def run(args: argparse.Namespace) -> None:
    """Write the grafted nets; nothing is written unless Caffe can build them."""
    folder = output_folder(args.out_dir, "--out-dir")
    check_mean(args.mean)
    graft = _graft(args)
    files = net_texts(graft)
    original = graft.net.path
    if any(os.path.realpath(Path(folder, name)) == os.path.realpath(original) for name in files):
        raise InputError(
            f"--out-dir is the folder of {original}, over which it would write: expected another"
        )
    check_nets(graft, files)
    test_images = args.test_images or _count_images(args.target_test)
    schedule = schedule_of(args, SCHEDULE, SCHEDULE.origin)
    files.update(solver_texts(graft, schedule, folder, test_images))
    write(Path(folder), files, args.force)
    for remark in remarks(graft):
        print(remark)


def _graft(args: argparse.Namespace) -> Graft:
    """Read the net, and say what is to become of it."""
    net = read_original(args.net)
    heads = find_heads(net)
    images = find_images(net, needed_blobs(net, heads, "TRAIN"), args.crop, args.mean, args.scale)
    larger = 256 if 128 <= images.crop <= 256 else -(-images.crop * 8 // 7)
    task = Task(
        target_classes=args.target_classes,
        source_classes=args.source_classes,
        batch_size=args.batch_size,
        test_batch_size=TASK.test_batch_size,
        k0=args.k0,
        crop=images.crop,
        train_resize={"resize": larger},
        test_resize={"resize_shorter": larger},
        mirror=images.mirror,
        mean=images.mean,
        paths=data_paths(args),
    )
    return Graft(net, heads, images, task, args.frozen_statistics)


def _count_images(path: str) -> int:
    """Return how many images the LMDB holds; InputError if it is not there."""
    if not os.path.exists(path):
        raise InputError(
            f"{path} is not there to count the test images: give --test-images, or --target-test "
            f"with an LMDB that exists"
        )
    return ImageLmdb(path, "test").count
