"""What selective joint training in rounds is compared with: steps of other ways to train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from sjft_tools.adapting import NET_FILE, SNAPSHOTS, SOLVER_FILE, net_of
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import Section
from sjft_tools.experiment.step import Step

TARGET_ONLY_SOLVER = "prototxt/demo/target_only_solver.prototxt"


@dataclass(frozen=True)
class Training:
    """A training run and its evaluation, in a folder of its own."""

    name: str
    folder: str
    solver: str  # to be adapted
    schedule: Section  # a round of the experiment
    data: dict[str, str] = field(default_factory=dict)  # options of 'sjft adapt'
    before: str = ""  # the weights to start from

    @property
    def weights(self) -> str:
        """Where the training ends."""
        file = f"{self.name}_iter_{self.schedule['max_iter']}.caffemodel"
        return os.path.join(self.folder, SNAPSHOTS, file)

    @property
    def result(self) -> str:
        """The file that its evaluation writes."""
        return os.path.join(self.folder, "test.json")


def target_only(plan: Plan, folder: str) -> Training:
    """Return the baseline: as the first round, but on the target alone."""
    return Training("target_only", folder, TARGET_ONLY_SOLVER, plan.experiment.rounds[0])


def random_joint(plan: Plan, folder: str) -> Training:
    """Return the control that joins, as in the first round, source images drawn at random."""
    data = _joint_data(plan, os.path.join(folder, "neighbors_lmdb"))
    net, rounds = plan.experiment.net, plan.experiment.rounds
    return Training("random_joint", folder, net["solver"], rounds[0], data)


def draw_neighbours(plan: Plan, training: Training) -> Step:
    """Return the step that draws the source images of `random_joint`."""
    target, source = plan.lmdb("target_train"), plan.lmdb("source")
    neighbours, experiment = training.data["--neighbours"], plan.experiment
    words = ["sjft", "random-neighbours", target, source, neighbours]
    words += ["--k", str(experiment.net["k0"]), "--seed", str(experiment.seed)]
    return Step("random_neighbours", words, [target, source], [neighbours])


def unhardened(plan: Plan, folder: str) -> Iterator[Training]:
    """Yield the later rounds once more without hard samples: every level stays 1."""
    data = _joint_data(plan, plan.file("neighbors_lmdb"))
    before = plan.weights(1)
    for number, schedule in enumerate(plan.experiment.rounds[1:], 2):
        name = f"unhardened_{number}"
        solver, place = plan.experiment.net["solver"], os.path.join(folder, f"round_{number}")
        training = Training(name, place, solver, schedule, data, before)
        before = training.weights
        yield training


def steps(plan: Plan, training: Training) -> Iterator[Step]:
    """Yield the steps of `training`: solver, weights, accuracy on the test images."""
    experiment, folder = plan.experiment, training.folder
    target, test = plan.lmdb("target_train"), plan.lmdb("target_test")
    solver, net = os.path.join(folder, SOLVER_FILE), os.path.join(folder, NET_FILE)
    data = {"--target": target, "--target-test": test, **training.data}
    words = [word for option in data.items() for word in option]
    words += [*plan.schedule(training.schedule), "--snapshot-name", training.name]
    yield Step(
        f"{training.name}_adapt",
        ["sjft", "adapt", training.solver, folder, *words],
        [training.solver, net_of(training.solver), test],
        [solver, net],
    )
    start = ["--weights", training.before] if training.before else []
    yield Step(
        f"{training.name}_train",
        ["sjft", "train", solver, *start, "--resume"],
        [solver, net, target, *_read_data(training), *start[1:]],
        [training.weights],
        emptied=[os.path.join(folder, SNAPSHOTS)],
    )
    deploy = experiment.net["deploy"]
    yield Step(
        f"{training.name}_test",
        [
            *("sjft", "evaluate", deploy, training.weights, test, "--json", training.result),
            *experiment.evaluate,
        ],
        [deploy, training.weights, test],
        [training.result],
    )


def _joint_data(plan: Plan, neighbours: str) -> dict[str, str]:
    k0 = str(plan.experiment.net["k0"])
    return {"--source": plan.lmdb("source"), "--neighbours": neighbours, "--k0": k0}


def _read_data(training: Training) -> list[str]:
    return [training.data[key] for key in ("--source", "--neighbours") if key in training.data]
