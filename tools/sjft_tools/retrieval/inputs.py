"""What a retrieval reads: image LMDBs, bins, bank, exclusions, and whether they fit together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.banks import make_bank
from sjft_tools.banks.bank import Bank
from sjft_tools.bins import Bins, check_bank, check_lmdbs, check_weights, load_bins
from sjft_tools.exclusion import read_exclusions


@dataclass(frozen=True)
class Paths:
    """Where the inputs are, as the user gave them; `backend` of the bank, "auto" for the best."""

    target: str
    source: str
    bins_file: str
    weights: str | None
    exclude: str | None
    backend: str

    def from_root(self) -> Paths:
        """Return the same paths from the root, for processes that run in another folder."""
        return replace(
            self,
            target=os.path.abspath(self.target),
            source=os.path.abspath(self.source),
            bins_file=os.path.abspath(self.bins_file),
            weights=self.weights and os.path.abspath(self.weights),
            exclude=self.exclude and os.path.abspath(self.exclude),
        )


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs, opened. `excluded`: int64, ascending positions of sources that take no part."""

    paths: Paths
    target: ImageLmdb
    source: ImageLmdb
    bins: Bins
    bank: Bank
    excluded: np.ndarray

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Return which of the source positions start..stop-1 take part: int64, ascending."""
        first, end = np.searchsorted(self.excluded, (start, stop))
        return np.setdiff1d(np.arange(start, stop), self.excluded[first:end], assume_unique=True)

    def taking_part(self, start: int, stop: int) -> int:
        """Return how many of the source positions start..stop-1 take part."""
        first, end = np.searchsorted(self.excluded, (start, stop))
        return stop - start - int(end - first)

    @property
    def usable(self) -> int:
        """How many source images take part."""
        return self.source.count - len(self.excluded)


def open_inputs(paths: Paths, k: int, backends: Mapping[str, str]) -> Inputs:
    """Open and check everything that a retrieval of `k` neighbours reads.

    `backends`: bank -> the backend to take for it where the user said "auto"; may be empty. Raises
    InputError if one is missing or broken, if they do not fit each other, or if the source holds
    fewer than `k` images that take part.
    """
    target = ImageLmdb(paths.target, "target")
    source = ImageLmdb(paths.source, "source")
    bins = load_bins(paths.bins_file)
    check_lmdbs(bins, paths.bins_file, target, source)
    check_weights(bins, paths.bins_file, paths.weights)
    if k > source.count:
        raise InputError(
            f"--k {k} is larger than the source: {source.path} holds {source.count} images"
        )
    excluded = np.empty(0, np.int64)
    if paths.exclude is not None:
        excluded = read_exclusions(paths.exclude, source)
    if k > source.count - len(excluded):
        raise InputError(
            f"--k {k} is larger than what is left of the source: of the {source.count} images of "
            f"{source.path}, {paths.exclude} excludes {len(excluded)}"
        )
    info = bins.info
    backend = paths.backend
    if backend == "auto":
        backend = backends.get(info.bank, "auto")
    bank = make_bank(info.bank, paths.weights, info.resize, info.resolution, backend)
    check_bank(bins, paths.bins_file, bank)
    return Inputs(paths, target, source, bins, bank, excluded)
