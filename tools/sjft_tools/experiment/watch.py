"""A watchful eye on a run: before each step where the run stands, and whether the step can work."""

from __future__ import annotations

from collections.abc import Mapping

from sjft_tools.experiment import disk_space
from sjft_tools.experiment.net_checks import check_round
from sjft_tools.experiment.net_trial import NetFacts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.step import Marker, Step, read_markers
from sjft_tools.experiment.time_left import TimeLeft, duration
from sjft_tools.outlet import say
from sjft_tools.pycaffe import caffe_messages
from sjft_tools.solver_files import read_message


class Watch:
    """Watches over the steps of `plan`, of whose nets `facts` are known."""

    def __init__(self, plan: Plan, facts: NetFacts) -> None:
        self._plan = plan
        self._facts = facts
        self._steps = list(plan.all_steps())
        self._times = TimeLeft(read_markers(plan.folder))

    def before(self, step: Step, spent: float, done: Mapping[str, Marker]) -> None:
        """Say how far the run is when `step` begins, `spent` seconds of it being over.

        `done`: the markers of the steps before it. Raises InputError if there is no room for what
        it writes, or if it is to train on what does not fit its net.
        """
        self._times.learn(done)
        place = next(i for i, each in enumerate(self._steps) if each.name == step.name)
        gone = spent + sum(marker["seconds"] for marker in done.values())
        say(
            f"\nstep {place + 1} of at most {len(self._steps)}: {duration(gone)} gone, "
            f"{self._times.words(self._steps[place:], spent)}"
        )
        needed = max(0, self._room(step) - disk_space.begun(step)) + disk_space.LITTLE
        disk_space.check_room(step, self._plan.folder, needed)
        if step.kind == "train":
            check_round(step.words[2])

    def _room(self, step: Step) -> int:
        """Return the bytes that a step writes, as far as they are known, small files left out."""
        plan = self._plan
        if step.kind.startswith("convert_"):
            words = plan.experiment.images[step.kind[len("convert_") :]]
            return disk_space.converted(list(words))
        if step.kind == "retrieve":
            return disk_space.retrieved(plan.lmdb("target_train"), plan.k)
        if step.kind == "train":
            solver = read_message(step.words[2], caffe_messages().SolverParameter())
            return disk_space.snapshots(solver, self._facts.weights)
        if step.kind in ("test", "validation"):
            classes = max(self._facts.classes.values(), default=0)
            return disk_space.scored(plan.lmdb(f"target_{step.kind}"), classes)
        return 0
