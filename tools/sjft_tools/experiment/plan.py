"""From an experiment to its steps: which command reads what, and what it makes."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence

from sjft.levels import MAX_LEVEL
from sjft_tools.adapting import NET_FILE, SNAPSHOTS, SOLVER_FILE, net_of
from sjft_tools.evaluation.protocol import DENSE
from sjft_tools.experiment.net_data import NetData, net_data
from sjft_tools.experiment.preparation import Preparation
from sjft_tools.experiment.settings import Section, option_values
from sjft_tools.experiment.step import Step, command_step


class Plan(Preparation):
    """The steps of an experiment in its run folder."""

    def training(self, number: int) -> Iterator[Step]:
        """Yield the steps of round `number` up to its weights and their validation."""
        net = self.experiment.net
        target, source = self.lmdb("target_train"), self.lmdb("source")
        test = self.lmdb("target_validation" if self._has_validation() else "target_test")
        neighbours, levels = self.neighbours, self.levels(number)
        folder = self.round_file(number)
        solver = self.round_file(number, SOLVER_FILE)
        data = ["--target", target, "--target-test", test, "--source", source]
        data += ["--neighbours", neighbours, *(["--levels", levels] if levels else [])]
        data += ["--k0", str(net["k0"])]
        schedule = self.schedule(self.experiment.rounds[number - 1])
        name = ["--snapshot-name", f"round_{number}"]
        yield command_step(
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
        yield command_step(
            f"round_{number}_train",
            words,
            inputs,
            [self.weights(number), self.table(number)],
            emptied=[self.round_file(number, SNAPSHOTS)],
            size=self.experiment.rounds[number - 1]["max_iter"],
        )
        if self._has_validation():
            yield self.evaluation(number, "target_validation", "validation")

    def selection(self, number: int) -> Step:
        """Return the step that counts what of the source round `number` trains with."""
        neighbours, levels = self.neighbours, self.levels(number)
        report = self.round_file(number, "selection.json")
        # levels files that state numbers of neighbours leave no K_0 open
        states_neighbours = bool(levels) and "--k0" in self.experiment.harden
        words = [] if states_neighbours else ["--k0", str(self.experiment.net["k0"])]
        words += ["--levels", levels] if levels else []
        words += ["--min-source-per-class", str(self._net_data.min_source_per_class)]
        return command_step(
            f"round_{number}_selection",
            ["sjft", "neighbours", neighbours, *words, *self.origins(), "--json", report],
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
            most = self.k if grows_neighbours else self._highest_level()
            words += ["--most", str(most)]
        if grows_neighbours and levels:  # they state numbers of neighbours by now
            place = options.index("--k0")
            del options[place : place + 2]
        return command_step(
            f"round_{number}_harden",
            [*words, *self._gpu(), *self._view(options), *options],
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
        options = self.experiment.evaluate
        words = ["sjft", "evaluate", deploy, weights, lmdb, "--scores", scores, "--json", result]
        return command_step(
            f"round_{number}_{name}",
            [*words, "--details", details, *self._gpu(), *self._view(options), *options],
            [deploy, weights, lmdb],
            [scores, result, details],
            [self.round_file(number, f".{name}.npz.work")],
        )

    def curves(self, rounds: int) -> Step:
        """Return the step that draws the training of all `rounds`."""
        logs = [self.table(number) for number in range(1, rounds + 1)]
        figure = self.file("curves.png")
        return command_step("curves", ["sjft", "plot", *logs, "--out", figure], logs, [figure])

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

    def _has_validation(self) -> bool:
        return "target_validation" in self.experiment.images

    def schedule(self, round_: Section) -> list[str]:
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

    def _view(self, options: Sequence[str]) -> list[str]:
        """Return what `options` of evaluate or harden leave open of how images are shown."""
        is_dense = DENSE in option_values(options, ("--crops",))
        is_sized = is_dense or bool({"--resize", "--resize-shorter", "--scales"} & set(options))
        found = self._net_data
        return [*([] if is_sized else found.size), *([] if "--mean" in options else found.mean)]

    @functools.cached_property
    def _net_data(self) -> NetData:
        return net_data(self.experiment.net["solver"], self.round_file(1, NET_FILE))

    def _highest_level(self) -> int:
        """Return the level at which an image uses all neighbours that are retrieved."""
        return min(MAX_LEVEL, self.k // self.experiment.net["k0"])

    def _gpu(self) -> list[str]:
        gpu = self.experiment.net["gpu"]
        return [] if gpu is None else ["--gpu", str(gpu).split(",")[0]]
