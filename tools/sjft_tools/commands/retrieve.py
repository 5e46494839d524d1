"""Find the K nearest source images of every target image (one pass over the source)."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import refuse_existing
from sjft_tools.banks import make_bank
from sjft_tools.banks.bank import Bank
from sjft_tools.bins import Bins, check_bank, check_lmdbs, check_weights, load_bins
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.describe import Describer
from sjft_tools.distance import Distance
from sjft_tools.histogram import Histogrammer
from sjft_tools.matching.matcher import Matcher, match_all
from sjft_tools.matching.products import make_product
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.top_k import merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("target", metavar="TARGET_LMDB", help="the images that the bins fit")
    parser.add_argument("source", metavar="SOURCE_LMDB", help="the images to choose from")
    parser.add_argument("neighbours", metavar="NEIGHBORS_LMDB", help="the folder to write")
    parser.add_argument(
        "--bins-file",
        required=True,
        metavar="BINS.npz",
        help="what 'sjft fit-bins' wrote; it also says which bank and which image size to use",
    )
    parser.add_argument(
        "--k", type=integer_at_least(1), required=True, help="neighbours to keep per target image"
    )
    parser.add_argument("--weights", help="as given to 'sjft fit-bins'")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    """Retrieve the neighbours and write them."""
    refuse_existing(args.neighbours, args.force)
    target = ImageLmdb(args.target, "target")
    source = ImageLmdb(args.source, "source")
    bins = load_bins(args.bins_file)
    check_lmdbs(bins, args.bins_file, target, source)
    check_weights(bins, args.bins_file, args.weights)
    if args.k > source.count:
        raise InputError(
            f"--k {args.k} is larger than the source: {args.source} holds {source.count} images"
        )
    bank = make_bank(bins.info.bank, args.weights, bins.info.resize, bins.info.resolution)
    check_bank(bins, args.bins_file, bank)
    print(
        f"{bank.name} bank, images warped to {bank.resize} x {bank.resize}, {bins.edges.size} "
        f"dimensions; {target.count} targets x {source.count} sources",
        file=sys.stderr,
    )
    indices, distances = retrieve(target, source, bank, bins, args.k)
    info = {
        "bank": bank.name,
        "resize": bank.resize,
        "resolution": bank.resolution,
        "bins": bins.edges.shape[1],
        "bins_checksum": bins.checksum(),
        "weights_checksum": bank.weights_checksum,
    }
    write_neighbours(args.neighbours, target, source, indices, distances, info, args.force)
    print(f"{args.neighbours}: {args.k} neighbours for each of {target.count} images")


def retrieve(
    target: ImageLmdb, source: ImageLmdb, bank: Bank, bins: Bins, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each target image's `k` nearest source images: T x k int64, and float32 distances.

    Nearest first by (distance, source index). Keeps the targets' descriptors in memory, 2 bytes for
    each of T x dimensions, and of the source no more than one block.
    """
    describer = Describer(bank, Histogrammer(bins))
    distance = Distance(bank.layers, bins.edges.shape[1])
    targets = np.concatenate([some.counts for some in describer.stream(target, None, "targets")])
    unlimited = np.full(len(targets), np.inf)
    matcher = Matcher(distance, targets, unlimited, make_product())
    sources = ((some.positions, some.counts) for some in describer.stream(source, None, "sources"))
    found = match_all(matcher, sources, len(targets), k)
    indices, distances, _ = merge([found], len(targets), k)
    return indices, distances.astype(np.float32)
