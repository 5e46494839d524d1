"""From an experiment to its steps: which command reads what, and what it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from sjft.levels import MAX_LEVEL
from sjft_tools.adapting import NET_FILE, SNAPSHOTS, SOLVER_FILE, net_of
from sjft_tools.experiment.settings import Experiment, Section
from sjft_tools.experiment.step import Step

#: Converts an image set of what role, in this order.
ROLES = ("target_train", "target_test", "target_validation", "source")


#: Options that a user may give, and whose values are read.
_READ_BY_CONVERT = ("--class-names", "--root")
_READ = ("--exclude",)


class Plan:
    """The steps of `experiment` in the run folder `folder`; paths are seen from the current one."""

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

    def before_training(self) -> Iterator[Step]:
        """Yield the steps up to the neighbours and their pictures."""
        yield from (self._convert(role) for role in ROLES if self._is_converted(role))
        target, source = self.lmdb("target_train"), self.lmdb("source")
        bins, neighbours = self.file("bins.npz"), self.file("neighbors_lmdb")
        bank = self.experiment.bank
        weights = [bank["weights"]] if bank["weights"] else []
        with_weights = ["--weights", *weights] if weights else []
        yield self._step(
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
            yield self._step(
                "leaks",
                ["sjft", "leaks", test, source, "--out", *exclusions, *leaks],
                [test, source],
                exclusions,
            )
        wanted = self.experiment.neighbours
        yield self._step(
            "retrieve",
            [
                *("sjft", "retrieve", target, source, neighbours, "--bins-file", bins),
                *with_weights,
                *("--k", str(wanted["k"])),
                *(["--exclude", *exclusions] if exclusions else []),
                *wanted["options"],
            ],
            [target, source, bins, *weights, *exclusions, *_values(wanted["options"], _READ)],
            [neighbours],
            [self.file(".neighbors_lmdb.work")],
        )
        report, figure = self.file("neighbours.json"), self.file("neighbours.png")
        yield self._step(
            "neighbours",
            ["sjft", "neighbours", neighbours, "--json", report, "--figure", figure],
            [neighbours, target, source],
            [report, figure],
        )
        gallery = self.file("gallery.png")
        yield self._step(
            "gallery",
            ["sjft", "gallery", neighbours, gallery, *self.experiment.gallery],
            [neighbours, target, source],
            [gallery],
        )

    def round_file(self, number: int, *names: str) -> str:
        """Return a path in the folder of round `number`, from 1."""
        return self.file(f"round_{number}", *names)

    def weights(self, number: int) -> str:
        """Return the weights in which round `number` ends."""
        iterations = self.experiment.rounds[number - 1]["max_iter"]
        return self.round_file(number, SNAPSHOTS, f"round_{number}_iter_{iterations}.caffemodel")

    def _table(self, number: int) -> str:
        return self.round_file(number, SNAPSHOTS, f"round_{number}_train.csv")

    def levels(self, number: int) -> str:
        """Return the levels with which round `number` trains; "" where all are 1."""
        return self.round_file(number - 1, "levels.json") if number > 1 else ""

    def training(self, number: int) -> Iterator[Step]:
        """Yield the steps of round `number` up to its weights and their validation."""
        net = self.experiment.net
        target, source = self.lmdb("target_train"), self.lmdb("source")
        test = self.lmdb("target_validation" if self._has_validation() else "target_test")
        neighbours, levels = self.file("neighbors_lmdb"), self.levels(number)
        folder = self.round_file(number)
        solver = self.round_file(number, SOLVER_FILE)
        data = ["--target", target, "--target-test", test, "--source", source]
        data += ["--neighbours", neighbours, *(["--levels", levels] if levels else [])]
        data += ["--k0", str(net["k0"])]
        schedule = self._schedule(self.experiment.rounds[number - 1])
        name = ["--snapshot-name", f"round_{number}"]
        yield self._step(
            f"round_{number}_adapt",
            ["sjft", "adapt", net["solver"], folder, *data, *schedule, *name],
            [*self._solver_files(), test],
            [solver, self.round_file(number, NET_FILE)],
        )
        yield self.selection(number)
        before = self.weights(number - 1) if number > 1 else net["weights"]
        words = ["sjft", "train", solver, *(["--weights", before] if before else []), "--resume"]
        words += ["--gpu", str(net["gpu"])] if net["gpu"] is not None else []
        inputs = [solver, self.round_file(number, NET_FILE), target, source, neighbours]
        inputs += [path for path in (levels, before) if path]
        yield self._step(
            f"round_{number}_train",
            words,
            inputs,
            [self.weights(number), self._table(number)],
            emptied=[self.round_file(number, SNAPSHOTS)],
            size=self.experiment.rounds[number - 1]["max_iter"],
        )
        if self._has_validation():
            yield self.evaluation(number, "target_validation", "validation")

    def training_scores(self, number: int) -> str:
        """Return where the scores of the target's training images after round `number` lie."""
        return self.round_file(number, "training.npz")

    def selection(self, number: int) -> Step:
        """Return the step that counts what of the source round `number` trains with."""
        neighbours, levels = self.file("neighbors_lmdb"), self.levels(number)
        report = self.round_file(number, "selection.json")
        # levels files that state numbers of neighbours leave no K_0 open
        states_neighbours = bool(levels) and "--k0" in self.experiment.harden
        words = [] if states_neighbours else ["--k0", str(self.experiment.net["k0"])]
        words += ["--levels", levels] if levels else []
        return self._step(
            f"round_{number}_selection",
            ["sjft", "neighbours", neighbours, *words, "--json", report],
            [
                *(neighbours, self.lmdb("target_train"), self.lmdb("source")),
                *([levels] if levels else []),
            ],
            [report],
        )

    def hardening(self, number: int) -> Step:
        """Return the step from round `number` to the levels of the next."""
        target, levels = self.lmdb("target_train"), self.levels(number)
        deploy, weights = self.experiment.net["deploy"], self.weights(number)
        harder, moves = (self.round_file(number, name) for name in ("levels.json", "moves.json"))
        scores = self.training_scores(number)
        words = ["sjft", "harden", deploy, weights, target, levels or "-", harder, "--json", moves]
        words += ["--scores", scores]
        options = list(self.experiment.harden)
        grows_neighbours = "--k0" in options
        if "--most" not in options:
            most = self.experiment.neighbours["k"] if grows_neighbours else self._highest_level()
            words += ["--most", str(most)]
        if grows_neighbours and levels:  # they state numbers of neighbours by now
            place = options.index("--k0")
            del options[place : place + 2]
        return self._step(
            f"round_{number}_harden",
            [*words, *self._gpu(), *options],
            [deploy, weights, target, *([levels] if levels else [])],
            [scores, harder, moves],
            [self.round_file(number, ".training.npz.work")],
        )

    def evaluation(self, number: int, role: str, name: str) -> Step:
        """Return the step that measures round `number` on the image set of a role."""
        net, lmdb, weights = self.experiment.net, self.lmdb(role), self.weights(number)
        deploy = net["deploy_dense"] or net["deploy"]
        scores, result = (self.round_file(number, f"{name}.{end}") for end in ("npz", "json"))
        details = self.round_file(number, f"{name}_details")
        words = ["sjft", "evaluate", deploy, weights, lmdb, "--scores", scores, "--json", result]
        return self._step(
            f"round_{number}_{name}",
            [*words, "--details", details, *self._gpu(), *self.experiment.evaluate],
            [deploy, weights, lmdb],
            [scores, result, details],
            [self.round_file(number, f".{name}.npz.work")],
        )

    def curves(self, rounds: int) -> Step:
        """Return the step that draws the training of all `rounds`."""
        logs = [self._table(number) for number in range(1, rounds + 1)]
        figure = self.file("curves.png")
        return self._step("curves", ["sjft", "plot", *logs, "--out", figure], logs, [figure])

    def all_steps(self) -> Iterator[Step]:
        """Yield every step of an experiment whose rounds are all gone through."""
        yield from self.before_training()
        rounds = len(self.experiment.rounds)
        for number in range(1, rounds + 1):
            yield from self.training(number)
            yield self.evaluation(number, "target_test", "test")
            if number < rounds:
                yield self.hardening(number)
        yield self.curves(rounds)

    def _solver_files(self) -> list[str]:
        solver = self.experiment.net["solver"]
        return [solver, net_of(solver)] if os.path.isfile(solver) else [solver]

    def _is_converted(self, role: str) -> bool:
        return isinstance(self.experiment.images.get(role), list)

    def _has_validation(self) -> bool:
        return "target_validation" in self.experiment.images

    def _convert(self, role: str) -> Step:
        words = self.experiment.images[role]
        options = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        places = words[1:options]  # one, but several LMDBs to be joined
        inputs = [*places, *_values(words[options:], _READ_BY_CONVERT)]
        return self._step(
            f"convert_{role}",
            ["sjft", "convert", words[0], *places, self.lmdb(role), *words[options:]],
            inputs,
            [self.lmdb(role)],
        )

    def _schedule(self, round_: Section) -> list[str]:
        """Return a round's options for `sjft adapt`; a test comes at its end, unless told."""
        options = {
            "--max-iter": round_["max_iter"],
            "--base-lr": round_["base_lr"],
            "--stepsize": round_["stepsize"],
            "--snapshot": round_["snapshot"],
            "--test-interval": round_["test_interval"] or round_["max_iter"],
            "--seed": self.experiment.seed,
        }
        return [word for option, value in options.items() if value for word in (option, str(value))]

    def _highest_level(self) -> int:
        """Return the level at which an image uses all neighbours that are retrieved."""
        return min(MAX_LEVEL, self.experiment.neighbours["k"] // self.experiment.net["k0"])

    def _gpu(self) -> list[str]:
        gpu = self.experiment.net["gpu"]
        return [] if gpu is None else ["--gpu", str(gpu).split(",")[0]]

    @staticmethod
    def _step(
        name: str,
        words: Sequence[str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        work: Sequence[str] = (),
        emptied: Sequence[str] = (),
        size: int = 1,
    ) -> Step:
        goes_on = words[1] in ("evaluate", "harden")
        # the last test comes behind the last snapshot
        appends = words[1] == "train"
        return Step(name, words, inputs, outputs, work, emptied, size, goes_on, appends)


def _values(options: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the words that follow one of `names`."""
    return [value for name, value in zip(options, options[1:]) if name in names]
