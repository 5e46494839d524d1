"""Run an experiment from its images to a report: convert, fit bins, retrieve, train round after
round with the hard samples of the one before, evaluate.

Killed at any moment and started again it goes on where it was; a changed input redoes what depends
on it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import begun_in, spelled
from sjft_tools.experiment.runner import REPORT, run_experiment
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.steps import Steps
from sjft_tools.experiment.validation import validate
from sjft_tools.outlet import let_go, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment",
        metavar="EXPERIMENT.yaml",
        help="what is to be run (docs/run.md); paths in it are seen from the current folder, or "
        "the one in which the run was begun",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="the run folder (default: runs/ and the experiment's name)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print every command, 'done' before those that are, and run none",
    )


def run(args: argparse.Namespace) -> None:
    experiment = read_experiment(args.experiment)
    path, out = os.path.abspath(args.experiment), args.out or os.path.join("runs", experiment.name)
    again = shlex.join(["sjft", "run", args.experiment, *(["--out", out] if args.out else [])])
    base = begun_in(out)
    folder = spelled(out, base)
    if base != os.getcwd():
        print(f"paths are seen from {base}, in which this run was begun", file=sys.stderr)
        os.chdir(base)
    plan = Plan(experiment, folder)
    facts = validate(plan, path)
    if args.dry_run:
        steps = Steps(folder, lock=-1)
        for step in plan.all_steps():
            print(f"done  {step.line}" if steps.is_done(step) else step.line)
        return
    try:
        outcome = run_experiment(plan, path, facts, again)
        say(
            f"\nrounds: {outcome.rounds}, the result is of round {outcome.best}: "
            f"{outcome.reason}\nweights: {plan.weights(outcome.best)}\n"
            f"report: {plan.file(REPORT)}"
        )
    except OSError as error:
        error.filename = error.filename or folder  # where it is that there is no room
        raise
    finally:
        let_go()
