"""Where what an experiment reads and makes lies."""

from __future__ import annotations

import functools
import os

from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.adapting import SNAPSHOTS
from sjft_tools.experiment.settings import Experiment


class RunFiles:
    """The files of `experiment` in the run folder `folder`; paths are seen from the current one."""

    def __init__(self, experiment: Experiment, folder: str) -> None:
        self.experiment = experiment
        self.folder = folder

    def file(self, *names: str) -> str:
        """Return a path in the run folder."""
        return os.path.join(self.folder, *names)

    def lmdb(self, role: str) -> str:
        """Return the LMDB of an image set: the user's own, or one in the run folder."""
        given = self.experiment.images[role]
        return given if isinstance(given, str) else self.file(f"{role}_lmdb")

    @functools.cached_property
    def neighbours(self) -> str:
        """The LMDB of the neighbours: the user's own, or the one in the run folder."""
        given = self.experiment.neighbours
        return given if isinstance(given, str) else self.file("neighbors_lmdb")

    @functools.cached_property
    def k(self) -> int:
        """How many neighbours every target image has; of an LMDB that is not there, K_0."""
        given = self.experiment.neighbours
        if isinstance(given, dict):
            return int(given["k"])
        return NeighbourLmdb(given).k if os.path.exists(given) else self.experiment.net["k0"]

    def round_file(self, number: int, *names: str) -> str:
        """Return a path in the folder of round `number`, from 1."""
        return self.file(f"round_{number}", *names)

    def weights(self, number: int) -> str:
        """Return the weights in which round `number` ends."""
        iterations = self.experiment.rounds[number - 1]["max_iter"]
        return self.round_file(number, SNAPSHOTS, f"round_{number}_iter_{iterations}.caffemodel")

    def table(self, number: int) -> str:
        """Return the values that round `number` displays while it trains."""
        return self.round_file(number, SNAPSHOTS, f"round_{number}_train.csv")

    def levels(self, number: int) -> str:
        """Return the levels with which round `number` trains; "" where all are 1."""
        return self.round_file(number - 1, "levels.json") if number > 1 else ""

    def training_scores(self, number: int) -> str:
        """Return where the scores of the target's training images after round `number` lie."""
        return self.round_file(number, "training.npz")
