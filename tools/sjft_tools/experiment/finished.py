"""What a report is made from: the files of a finished run."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.checksums import checksum_of
from sjft_tools.experiment.outcome import Outcome
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.step import Marker


class FinishedRun:
    """The results of `plan`; `done`: the marker of every step of the run, in its order."""

    def __init__(self, plan: Plan, outcome: Outcome, done: Mapping[str, Marker]) -> None:
        self.plan = plan
        self.outcome = outcome
        self.done = done
        self.rounds = range(1, outcome.rounds + 1)

    def rounds_with(self, kind: str) -> list[int]:
        """Return the rounds that have had a step of a kind: "harden", "selection"."""
        return [number for number in self.rounds if f"round_{number}_{kind}" in self.done]

    def text_of_round(self, number: int, *names: str) -> str:
        """Return the text of a file of round `number`. Raises InputError if it is gone or other."""
        path = self.plan.round_file(number, *names)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): give the same 'sjft run' again, which "
                f"makes it once more"
            ) from None
        made = self._made.get(os.path.relpath(path, self.plan.folder))
        if made not in (None, checksum_of(content)):
            raise self.spoilt(path)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise self.spoilt(path) from None

    def of_round(self, number: int, *names: str) -> Any:
        """Return the content of a JSON file of round `number`. Raises InputError likewise."""
        return json.loads(self.text_of_round(number, *names))

    def spoilt(self, path: str) -> InputError:
        """Return what is to be raised for a file that is not what the run has made."""
        return InputError(
            f"{path} is not what the run has made: remove it, and give the same 'sjft run' again, "
            f"which makes it once more"
        )

    @functools.cached_property
    def _made(self) -> dict[str, str]:
        """Path within the run folder -> fingerprint, of all that the steps have made."""
        found = {}
        for marker in self.done.values():
            for path, fingerprint in marker["outputs"].items():
                found[os.path.relpath(path, self.plan.folder)] = fingerprint
        return found

    @functools.cached_property
    def target(self) -> ImageLmdb:
        """The target's training images."""
        return ImageLmdb(self.plan.lmdb("target_train"), "target")

    @functools.cached_property
    def source(self) -> ImageLmdb:
        """The source images."""
        return ImageLmdb(self.plan.lmdb("source"), "source")

    @functools.cached_property
    def neighbours(self) -> NeighbourLmdb:
        """The neighbours."""
        found = NeighbourLmdb(self.plan.neighbours)
        found.check_matches(self.target, self.source)
        return found

    def neighbourhoods(self, number: int) -> np.ndarray:
        """Return K_i of every target image, int64 (T,), with which round `number` is trained.

        One more than the last round: those that the last hardening has made.
        """
        levels = read_levels(self.plan.levels(number) or None, self.target)
        if levels.neighbours is not None:
            return levels.neighbours
        sizes: np.ndarray = levels.levels * self.plan.experiment.net["k0"]
        return sizes


def percent(share: float) -> str:
    """Return a share from 0 to 1 in per cent, with two places."""
    return f"{100 * share:.2f}"


def count_of(number: int, thing: str) -> str:
    """Return "1 round", "2 rounds", "20,000 images"."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def sentence(words: str) -> str:
    """Return words that begin small and lack a full stop as a sentence."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
