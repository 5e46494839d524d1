"""From the shards' candidates to the neighbour LMDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import numpy as np

from sjft.errors import InputError
from sjft.side_file import NEIGHBOURS, read_side_file
from sjft_tools.matching.candidates import Candidates
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan
from sjft_tools.retrieval.shard_files import Pass, ShardFiles
from sjft_tools.top_k import merge

#: Does all shards of a pass that are not there yet.
DoPass = Callable[[Pass], Any]

_DECIDING = (
    "k",
    "target_fingerprint",
    "source_fingerprint",
    "bins_checksum",
    "weights_checksum",
    "backend",
    "exclusions_checksum",
)


def is_result(output: str, plan: Plan) -> bool:
    """Return whether the folder `output` is the neighbour LMDB that `plan` leads to."""
    try:
        info = read_side_file(output, NEIGHBOURS, "neighbour")
    except InputError:
        return False
    return all(info.get(name) == getattr(plan, name) for name in _DECIDING)


def neighbours(
    work: str, inputs: Inputs, plan: Plan, first: Pass, do_pass: DoPass
) -> tuple[np.ndarray, np.ndarray]:
    """Return each target's nearest sources, T x K int64, and their distances, T x K float64.

    All shards of the pass `first` must lie in the folder `work`. Limits are too low once in a
    great while: a target that finds fewer than K sources within its limit is matched again without
    one, by `do_pass`, with all others like it. Raises InputError if K is larger than the number of
    source images that can be decoded.
    """
    files = ShardFiles(work, plan, first)
    bad = bad_images(files)
    if plan.k > inputs.usable - bad:
        raise InputError(
            f"--k {plan.k} is larger than what is left of the source: of the {plan.sources} images "
            f"of {inputs.source.path}, {bad} cannot be decoded and {plan.excluded} are excluded"
        )
    sources, distances, counts = merge(_parts(files, plan, work), plan.targets, plan.k)
    short = np.flatnonzero(counts < plan.k)
    if len(short):
        again = Pass("again", short, np.full(len(short), np.inf))
        do_pass(again)
        files = ShardFiles(work, plan, again)
        found = merge(_parts(files, plan, work), plan.targets, plan.k)
        sources[short], distances[short] = found[0][short], found[1][short]
        if (found[2][short] < plan.k).any():
            raise RuntimeError(f"fewer than {plan.k} sources were found without limits")
    return sources, distances


def bad_images(files: ShardFiles) -> int:
    """Return how many source images of all shards could not be decoded."""
    return sum(len(stats.bad) for stats in files.done().values())


def _parts(files: ShardFiles, plan: Plan, work: str) -> Iterator[Candidates]:
    for shard in range(plan.shards):
        candidates = files.read(shard)
        if candidates is None:
            raise InputError(
                f"the files of shard {shard} in {work} were changed while they were in use: run "
                f"'sjft retrieve' again"
            )
        yield candidates


def write(
    output: str,
    inputs: Inputs,
    plan: Plan,
    found: tuple[np.ndarray, np.ndarray],
    bad: int,
    force: bool,
) -> None:
    """Write the neighbour LMDB `output`: `found` as neighbours() returns it."""
    info = {
        "bank": inputs.bank.name,
        "backend": inputs.bank.backend,
        "resize": inputs.bank.resize,
        "resolution": inputs.bank.resolution,
        "bins": inputs.bins.edges.shape[1],
        "bins_checksum": plan.bins_checksum,
        "weights_checksum": plan.weights_checksum,
        "exclusions_checksum": plan.exclusions_checksum,
        "excluded": plan.excluded,
        "bad_images": bad,
    }
    sources, distances = found
    write_neighbours(
        output, inputs.target, inputs.source, sources, distances.astype(np.float32), info, force
    )
