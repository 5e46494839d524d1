"""The steps before the rounds: image sets, bins, leaks, neighbours and their pictures."""

from __future__ import annotations

from collections.abc import Iterator

from sjft_tools.experiment.run_files import RunFiles
from sjft_tools.experiment.settings import Section, option_values
from sjft_tools.experiment.step import Step, command_step

#: Converts an image set of what role, in this order.
ROLES = ("target_train", "target_test", "target_validation", "source")

#: Options that a user may give, and whose values are read.
_READ_BY_CONVERT = ("--class-names", "--root")
_READ = ("--exclude",)


class Preparation(RunFiles):
    """The steps of an experiment, in its run folder, up to its rounds."""

    def before_training(self) -> Iterator[Step]:
        """Yield the steps up to the neighbours and their pictures."""
        yield from (self._convert(role) for role in ROLES if self._is_converted(role))
        bank, wanted = self.experiment.bank, self.experiment.neighbours
        if bank is not None and not isinstance(wanted, str):
            yield from self._retrieval(bank, wanted)
        yield from self._pictures()

    def _retrieval(self, bank: Section, wanted: Section) -> Iterator[Step]:
        """Yield the steps that find the neighbours."""
        target, source, bins = self.lmdb("target_train"), self.lmdb("source"), self.file("bins.npz")
        weights = [bank["weights"]] if bank["weights"] else []
        with_weights = ["--weights", *weights] if weights else []
        yield command_step(
            "fit_bins",
            [
                *("sjft", "fit-bins", target, bins, "--bank", bank["name"]),
                *with_weights,
                *bank["options"],
            ],
            [target, *weights],
            [bins],
        )
        leaks = self.experiment.leaks
        exclusions = [] if leaks is None else [self.file("leaks.txt")]
        if leaks is not None:
            test = self.lmdb("target_test")
            yield command_step(
                "leaks",
                ["sjft", "leaks", test, source, "--out", *exclusions, *leaks],
                [test, source],
                exclusions,
            )
        yield command_step(
            "retrieve",
            [
                *("sjft", "retrieve", target, source, self.neighbours, "--bins-file", bins),
                *with_weights,
                *("--k", str(wanted["k"])),
                *(["--exclude", *exclusions] if exclusions else []),
                *wanted["options"],
            ],
            [target, source, bins, *weights, *exclusions, *option_values(wanted["options"], _READ)],
            [self.neighbours],
            [self.file(".neighbors_lmdb.work")],
        )

    def origins(self) -> list[str]:
        """Return the options that name the images of neighbours that another run has found.

        Those of this run's are where they were.
        """
        if self.experiment.bank is not None:
            return []
        return ["--target", self.lmdb("target_train"), "--source", self.lmdb("source")]

    def _pictures(self) -> Iterator[Step]:
        """Yield the steps that show the neighbours."""
        target, source, neighbours = self.lmdb("target_train"), self.lmdb("source"), self.neighbours
        report, figure = self.file("neighbours.json"), self.file("neighbours.png")
        yield command_step(
            "neighbours",
            [
                *("sjft", "neighbours", neighbours, *self.origins()),
                *("--json", report, "--figure", figure),
            ],
            [neighbours, target, source],
            [report, figure],
        )
        gallery = self.file("gallery.png")
        yield command_step(
            "gallery",
            ["sjft", "gallery", neighbours, gallery, *self.origins(), *self.experiment.gallery],
            [neighbours, target, source],
            [gallery],
        )

    def _is_converted(self, role: str) -> bool:
        return isinstance(self.experiment.images.get(role), list)

    def _convert(self, role: str) -> Step:
        words = self.experiment.images[role]
        options = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        places = words[1:options]  # one, but several LMDBs to be joined
        inputs = [*places, *option_values(words[options:], _READ_BY_CONVERT)]
        return command_step(
            f"convert_{role}",
            ["sjft", "convert", words[0], *places, self.lmdb(role), *words[options:]],
            inputs,
            [self.lmdb(role)],
        )
