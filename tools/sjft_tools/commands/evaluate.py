"""Measure a trained net's accuracy on an image LMDB: one central crop per image.

Prints top-1, top-5 and mean per-class accuracy.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.showing import show
from sjft.transforms import Geometry
from sjft_tools.atomic import new_file, refuse_existing
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.evaluation import score_images
from sjft_tools.scoring import Accuracy, accuracy
from sjft_tools.trained_net import TrainedNet

FORMAT = "sjft evaluation 1"

# The published protocol, for the nets that it was published for.
_SHORTER = 256
_CROPS = range(128, _SHORTER + 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("deploy", metavar="DEPLOY.prototxt", help="net with one square input")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel file")
    parser.add_argument("test", metavar="TEST_LMDB", help="labelled images")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--resize",
        type=integer_at_least(1),
        metavar="N",
        help="warp images to N x N pixels before the central crop, which is as large as the input",
    )
    size.add_argument(
        "--resize-shorter",
        type=integer_at_least(1),
        metavar="N",
        help=f"scale their shorter side to N pixels before the crop (default: {_SHORTER} for "
        f"inputs of {_CROPS[0]} to {_CROPS[-1]} pixels; for others images keep their stored size)",
    )
    parser.add_argument(
        "--mean",
        type=float,
        nargs=3,
        default=[104.0, 117.0, 123.0],
        metavar=("B", "G", "R"),
        help="what is subtracted from the pixels",
    )
    parser.add_argument(
        "--output", metavar="BLOB", help="the blob with the scores (default: the net's only output)"
    )
    parser.add_argument(
        "--batch-size", type=integer_at_least(1), default=10, help="images per forward pass"
    )
    parser.add_argument(
        "--gpu", type=integer_at_least(0), metavar="N", help="number of the GPU (default: the CPU)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluate."""
    if args.json is not None:
        refuse_existing(args.json, args.force)
    images = ImageLmdb(args.test, "test")
    net = TrainedNet(args.deploy, args.weights, args.output, args.gpu)
    largest = int(images.labels.max())
    if largest >= net.classes:
        raise InputError(
            f"{args.test} has labels up to {largest}, but the output '{net.output}' of "
            f"{args.deploy} has {net.classes} classes: expected labels up to {net.classes - 1}"
        )
    shorter = args.resize_shorter
    if args.resize is None and shorter is None and net.crop in _CROPS:
        shorter = _SHORTER
    scaled = None if shorter is None else (shorter, shorter)
    geometry = Geometry(args.resize, scaled, net.crop, mirror=False)
    view = partial(show, geometry=geometry, mean=np.array(args.mean, np.float32))
    result = accuracy(score_images(net, images, view, args.batch_size), images.labels)
    print(f"view          {_view_words(args.resize, shorter)}, centre {net.crop} x {net.crop}")
    print(table(result))
    if args.json is not None:
        content = {
            "format": FORMAT,
            "deploy": args.deploy,
            "weights": args.weights,
            "test_lmdb": args.test,
            "test_fingerprint": images.fingerprint,
            "output": net.output,
            "crops": 1,
            "resize": args.resize,
            "resize_shorter": shorter,
            "crop": net.crop,
            "mean": args.mean,
            **as_json(result, images.class_names),
        }
        with new_file(args.json, args.force) as partial_file:
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            Path(partial_file).write_text(text, encoding="utf-8")


def _view_words(resize: int | None, shorter: int | None) -> str:
    if resize is not None:
        return f"warped to {resize} x {resize}"
    return "stored size" if shorter is None else f"shorter side {shorter}"


def table(result: Accuracy) -> str:
    """Return the result as lines of text, accuracies in per cent."""
    classes, seen = len(result.images), int((result.images > 0).sum())
    return "\n".join(
        [
            f"images        {result.images.sum()}",
            f"classes       {classes}"
            + (f", {seen} of them with images" if seen < classes else ""),
            f"top-1         {100 * result.top1:6.2f} %",
            f"top-5         {100 * result.top5:6.2f} %",
            f"mean class    {100 * result.mean_class:6.2f} %",
        ]
    )


def as_json(result: Accuracy, class_names: list[str]) -> dict[str, Any]:
    """Return the result as JSON values, accuracies from 0 to 1, without classes without images."""
    per_class = [
        {
            "label": label,
            "name": class_names[label] if label < len(class_names) else "",
            "images": int(count),
            "top1": float(result.per_class[label]),
        }
        for label, count in enumerate(result.images)
        if count
    ]
    return {
        "images": int(result.images.sum()),
        "classes": len(result.images),
        "top1": result.top1,
        "top5": result.top5,
        "mean_class": result.mean_class,
        "per_class": per_class,
    }
