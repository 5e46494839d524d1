"""Turn a net of the authors' fork of Caffe into one of stock layers and sjft's.

RefinedBoostedJointTrainingData and RandomCropBoostedData become a JointDataLayer, SplitData a
Slice, MergeData a Concat, Residual an Eltwise; layers with weights keep their names, so that
weights load as before. Prints what it changed. A retrieval net (FeatureStatistics,
RefinedHistFeature, NormalKnnMatch) has no counterpart: the commands that do its work are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.atomic import refuse_existing, write_file
from sjft_tools.command import add_force, add_mean, check_mean
from sjft_tools.migration.fork import fork_net
from sjft_tools.migration.joint_data import Where
from sjft_tools.migration.retrieval import retrieval_commands
from sjft_tools.migration.upgrade import RETRIEVAL, upgrade
from sjft_tools.net_files import as_fields, read_net
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.text import comment_lines, message_lines

PATHS = DataPaths()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("original", metavar="ORIGINAL.prototxt", help="the fork's net")
    parser.add_argument(
        "net", nargs="?", metavar="NET.prototxt", help="the net to write; none for a retrieval net"
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET_LMDB",
        help=f"target training images; repeated, stored versions of them (default: {PATHS.target})",
    )
    parser.add_argument(
        "--source", default=PATHS.source, metavar="SOURCE_LMDB", help="source images"
    )
    parser.add_argument(
        "--neighbours",
        default=PATHS.neighbours,
        metavar="NEIGHBORS_LMDB",
        help="each target image's nearest source images",
    )
    parser.add_argument("--levels", metavar="FILE", help="levels file (default: level 1 for all)")
    add_mean(parser, otherwise="the net's mean_value")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    check_mean(args.mean)
    original = read_net(args.original, fork_net())
    if any(layer.type in RETRIEVAL for layer in original.layer):
        print(f"{args.original} is a retrieval net; this does the same:")
        for line in retrieval_commands(original):
            print(line)
        return
    if args.net is None:
        raise InputError(f"{args.original} is no retrieval net: name the net to write")
    refuse_existing(args.net, args.force)
    mean = None if args.mean is None else [int(m) if m.is_integer() else m for m in args.mean]
    where = Where(args.target or [PATHS.target], args.source, args.neighbours, args.levels, mean)
    upgraded = upgrade(original, where)
    lines = comment_lines(f"{Path(args.original).name}, upgraded by `sjft upgrade-prototxt`.")
    head = {key: value for key, value in as_fields(original).items() if key != "layer"}
    lines += [line[2:] for line in message_lines("net", {"name": "net", **head})[1:-1]]
    for layer in upgraded.layers:
        lines += message_lines("layer", layer)
    write_file(args.net, ("\n".join(lines) + "\n").encode(), args.force)
    for note in upgraded.notes or ["nothing of the fork was in it"]:
        print(note)
    print(f"{args.net} written: {len(upgraded.layers)} layers")
