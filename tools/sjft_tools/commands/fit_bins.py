"""Fit the adaptive histogram bins to the responses of the target images (two passes over them)."""

from __future__ import annotations

import argparse
import sys
from typing import Callable

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import refuse_existing
from sjft_tools.banks import BACKENDS, DEFAULT_RESIZE, make_bank
from sjft_tools.banks.bank import Bank
from sjft_tools.bin_fitting import ChannelRange, GridCounts, all_upper_edges
from sjft_tools.bins import Bins, BinsInfo
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.describe import batches


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sizes = ", ".join(f"{size} for {bank}" for bank, size in DEFAULT_RESIZE.items())
    parser.add_argument("target", metavar="TARGET_LMDB", help="the target's training images")
    parser.add_argument("bins_file", metavar="BINS.npz", help="the file to write")
    parser.add_argument(
        "--bank", choices=list(DEFAULT_RESIZE), default="alexnet", help="the filter bank"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="AlexNet's conv1 and conv2, a .caffemodel or .npz; for that bank only",
    )
    parser.add_argument(
        "--bins",
        type=integer_at_least(2),
        default=100,
        metavar="N",
        help="bins per channel of the bank",
    )
    parser.add_argument(
        "--resize",
        type=integer_at_least(1),
        metavar="N",
        help=f"warp images to N x N pixels before filtering (default: {sizes})",
    )
    parser.add_argument(
        "--resolution",
        type=integer_at_least(1),
        metavar="N",
        help="reduce larger images to N x N pixels first: for a target and a source of different "
        "resolutions, the lower of the two (default: no reduction)",
    )
    add_backend(parser)
    add_force(parser)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="what computes the filters' responses; auto takes the fastest that is there",
    )


def run(args: argparse.Namespace) -> None:
    refuse_existing(args.bins_file, args.force)
    target = ImageLmdb(args.target, "target")
    bank = make_bank(args.bank, args.weights, args.resize, args.resolution, args.backend)
    print(
        f"{target.count} images, warped to {bank.resize} x {bank.resize}, centre {bank.crop} x "
        f"{bank.crop} filtered by {bank.backend}",
        file=sys.stderr,
    )
    bins = fit(target, bank, args.bins)
    bins.save(args.bins_file, args.force)
    print(f"{args.bins_file}: {args.bins} bins for each of {len(bins.edges)} channels")


def fit(target: ImageLmdb, bank: Bank, bins: int) -> Bins:
    """Return `bins` bins per channel of `bank`, fitted to all images of `target`."""
    span = ChannelRange(sum(layer.channels for layer in bank.layers))
    _scan(target, bank, span.add, "pass 1 of 2, ranges")
    span.check_finite()
    grid = GridCounts(span.minimum, span.maximum)
    _scan(target, bank, grid.add, "pass 2 of 2, counts")
    info = BinsInfo(
        bank.name, bank.resize, bank.weights_checksum, target.fingerprint, bank.resolution
    )
    return Bins(info, all_upper_edges(grid, bins), span.minimum, span.maximum)


def _scan(
    target: ImageLmdb, bank: Bank, add: Callable[[list[np.ndarray]], None], what: str
) -> None:
    """Give the responses of all images to `add`, batch by batch, from several threads."""
    for _ in batches(target, bank, None, lambda images: add(bank.responses(images)), what):
        pass
