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

from google.protobuf import text_format

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.caffemodel import times
from sjft_tools.command import add_force, add_mean, check_mean, integer_at_least
from sjft_tools.grafting.heads import find_heads
from sjft_tools.grafting.images import find_images
from sjft_tools.grafting.nets import (
    COMMAND,
    Graft,
    deploy_net,
    joint_net,
    needed_blobs,
    target_only_net,
)
from sjft_tools.grafting.original import read_original
from sjft_tools.net_files import build
from sjft_tools.nets.files import output_folder, write
from sjft_tools.nets.joint import DataPaths, Task
from sjft_tools.nets.options import add_data_options, data_paths, even_size
from sjft_tools.nets.solver import Run, solver_text
from sjft_tools.nets.target_set import TASK
from sjft_tools.netscope.view import view
from sjft_tools.pycaffe import caffe_messages

ORIGIN = "A start for published weights, which `sjft adapt` changes: no paper has these numbers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    count = integer_at_least(1)
    parser.add_argument("net", metavar="NET.prototxt", help="a train_val or deploy net")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="folder of the files")
    parser.add_argument("--target-classes", type=count, required=True, metavar="N", help=_CLASSES)
    parser.add_argument("--source-classes", type=count, required=True, metavar="M", help=_CLASSES)
    parser.add_argument("--test-images", type=count, metavar="T", help=_TEST_IMAGES)
    parser.add_argument("--crop", type=count, metavar="S", help="side of images (default: NET's)")
    add_mean(parser, otherwise="NET's, else 104 117 123")
    parser.add_argument(
        "--k0", type=count, default=TASK.k0, help="nearest neighbours in use at level 1"
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
        help="BatchNorm keeps the stored statistics in training, too",
    )
    add_data_options(parser, DataPaths())
    add_force(parser)


_CLASSES = "outputs of this classifier"
_TEST_IMAGES = "images of the target's test set (default: as many as --target-test holds)"


def run(args: argparse.Namespace) -> None:
    """Write the grafted nets; nothing is written unless Caffe can build them."""
    folder = output_folder(args.out_dir, "--out-dir")
    check_mean(args.mean)
    net = read_original(args.net)
    heads = find_heads(net)
    images = find_images(net, needed_blobs(net, heads, "TRAIN"), args.crop, args.mean)
    paths = data_paths(args)
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
        paths=paths,
    )
    graft = Graft(net, heads, images, task, args.frozen_statistics)
    files = {
        "joint_train_val.prototxt": joint_net(graft),
        "target_only_train_val.prototxt": target_only_net(graft),
        "deploy.prototxt": deploy_net(graft, both=False),
        "deploy_both.prototxt": deploy_net(graft, both=True),
    }
    if any(os.path.realpath(Path(folder, name)) == os.path.realpath(net.path) for name in files):
        raise InputError(
            f"--out-dir is the folder of {net.path}, over which it would write: expected another"
        )
    check(graft, files["deploy_both.prototxt"])
    if len(heads) > 1:
        check_training(graft, files["joint_train_val.prototxt"])
    images_in_test = args.test_images or count_images(paths.target_test)
    for kind, batch_size in (("joint", task.batch_size), ("target_only", task.half)):
        files[f"{kind}_solver.prototxt"] = solver(graft, kind, batch_size, folder, images_in_test)
    write(Path(folder), files, args.force)
    for remark in remarks(graft):
        print(remark)


def check(graft: Graft, text: str) -> None:
    """Have Caffe build the net with both heads; InputError if it cannot, or has maps of scores."""
    side = graft.task.crop
    what = f"the net grafted from {graft.net.path}, for images of {side} x {side}"
    built = build(text, "TEST", what)
    shape = built.shapes["prob_target"]
    if any(extent != 1 for extent in shape[2:]):
        raise InputError(
            f"{graft.net.path} gives {times(shape)} scores for an image of "
            f"{side} x {side}: expected one for each class"
        )


def check_training(graft: Graft, text: str) -> None:
    """Have Caffe build the joint net as it trains, with the heads that deploy nets do not have."""
    net = text_format.Parse(text, caffe_messages().NetParameter())
    view(net, f"the joint net grafted from {graft.net.path}", "TRAIN", {})


def count_images(path: str) -> int:
    """Return how many images the LMDB holds; InputError if it is not there."""
    if not os.path.exists(path):
        raise InputError(
            f"{path} is not there to count the test images: give --test-images, or --target-test "
            f"with an LMDB that exists"
        )
    return ImageLmdb(path, "test").count


def solver(graft: Graft, kind: str, batch_size: int, folder: str, test_images: int) -> str:
    """The solver of joint or target_only training; snapshots go beside it."""
    run = Run(
        net=f"{folder}/{kind}_train_val.prototxt",
        snapshot_prefix=f"{folder}/{kind}",
        batch_size=batch_size,
        iter_size=10,
        origin=ORIGIN,
        base_lr=0.001,
        weight_decay=0.0005,
        step=4000,
        max_iter=12000,
        test_batch_size=graft.task.test_batch_size,
        test_images=test_images,
        test_interval=500,
        snapshot=500,
        display=10,
        batch_statistics=False,
    )
    title = f"{graft.net.name}, grafted: {kind.replace('_', '-')} training."
    return solver_text(title, run, COMMAND)


def remarks(graft: Graft) -> list[str]:
    """What a user should know of the graft, one line each."""
    names = ", ".join(head.classifier.name for head in graft.heads)
    lines = [f"replaced {names}; images of {graft.task.crop} x {graft.task.crop}"]
    if len(graft.heads) > 1:
        lines.append("the last of them is the main classifier, the others serve training alone")
    lines += graft.images.remarks
    trunk = [layer for layer in graft.net.layers if layer.type in ("Convolution", "InnerProduct")]
    params = ("convolution_param", "inner_product_param")
    if not any("weight_filler" in layer.fields.get(key, {}) for layer in trunk for key in params):
        lines.append("NET has no weight fillers: train from its published weights, not from zero")
    normal = [layer for layer in graft.net.layers if layer.type == "BatchNorm"]
    if not graft.frozen and any(
        layer.fields.get("batch_norm_param", {}).get("use_global_stats") for layer in normal
    ):
        lines.append("NET's BatchNorm has use_global_stats: its statistics stay as they are")
    return lines
