"""Running an experiment: its steps in order, its rounds as long as they are worth it."""

from __future__ import annotations

import os
from pathlib import Path

from sjft_tools.atomic import write_file
from sjft_tools.experiment.environment import note_start
from sjft_tools.experiment.net_trial import NetFacts, keep_facts
from sjft_tools.experiment.outcome import COPY, Outcome, read_finished, write_summary
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.report import report_page
from sjft_tools.experiment.run_folder import claim_run_folder
from sjft_tools.experiment.run_lock import run_lock
from sjft_tools.experiment.steps import Steps
from sjft_tools.experiment.watch import Watch
from sjft_tools.json_file import read_json

REPORT = "report.html"


def run_experiment(plan: Plan, path: str, facts: NetFacts, again: str) -> Outcome:
    """Run every step of the experiment in the file `path` that is not done.

    `facts`: of its nets; `again`: the command that goes on with the run. Raises InputError,
    StepFailed if a step cannot be done.
    """
    os.makedirs(plan.folder, exist_ok=True)
    with run_lock(plan.folder) as lock:
        claim_run_folder(plan.folder, plan.experiment.name)
        note_start(plan.folder)
        write_file(plan.file(COPY), Path(path).read_bytes(), force=True)
        keep_facts(plan, facts)
        watch = Watch(plan, facts)
        steps = Steps(
            plan.folder, lock, again, lambda step, spent: watch.before(step, spent, steps.done)
        )
        for step in plan.before_training():
            steps.run(step)
        outcome = _rounds(plan, steps)
        steps.run(plan.curves(outcome.rounds))
        write_summary(plan, outcome, steps.done)
        write_file(plan.file(REPORT), report_page(plan, outcome, steps.done).encode(), force=True)
    return outcome


def write_report(folder: str) -> str:
    """Write the report of the finished run in `folder` once more; return its path.

    Raises InputError if there is no finished run.
    """
    plan, outcome, done = read_finished(folder)
    write_file(plan.file(REPORT), report_page(plan, outcome, done).encode(), force=True)
    return plan.file(REPORT)


def _rounds(plan: Plan, steps: Steps) -> Outcome:
    """Train round after round, each with the hard samples of the one before.

    They end after the last one that the experiment names, when no target image's neighbourhood
    grows any more, or when the accuracy on the validation set has fallen: then the round before is
    the result.
    """
    last = len(plan.experiment.rounds)
    best, accuracy = 1, -1.0
    for number in range(1, last + 1):
        for step in plan.training(number):
            steps.run(step)
        steps.run(plan.evaluation(number, "target_test", "test"))
        now = _accuracy(plan, number)
        if now is not None and now < accuracy:
            return Outcome(
                number,
                best,
                f"the accuracy on the validation set fell from {accuracy:.4f} to {now:.4f}",
            )
        best, accuracy = number, accuracy if now is None else now
        if number < last:
            steps.run(plan.hardening(number))
            if not read_json(plan.round_file(number, "moves.json"))["moved"]:
                return Outcome(number, best, "no target image's neighbourhood grows any more")
    return Outcome(last, best, "every round of the experiment was trained")


def _accuracy(plan: Plan, number: int) -> float | None:
    """Return the mean accuracy over classes on the validation set, None if there is none."""
    if "target_validation" not in plan.experiment.images:
        return None
    return float(read_json(plan.round_file(number, "validation.json"))["mean_class"])
