"""How a run has ended, as it is kept in its folder, and read back for its report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sjft.errors import InputError
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import FORMAT, MARKER
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.step import FOLDER, Marker, is_same_command, marker_file, read_marker
from sjft_tools.json_file import read_json, write_json

SUMMARY = "summary.json"
COPY = "experiment.yaml"

_KEYS = {"command", "inputs", "outputs", "seconds"}


class Outcome(NamedTuple):
    """How many rounds were trained, which one the result is of, and why they ended."""

    rounds: int
    best: int
    reason: str


def write_summary(plan: Plan, outcome: Outcome, steps: Iterable[str]) -> None:
    """Write the summary of a run; `steps`: the names of all that were done."""
    rounds = []
    for number in range(1, outcome.rounds + 1):
        result = read_json(plan.round_file(number, "test.json"))
        rounds.append({key: result[key] for key in ("top1", "top5", "mean_class", "interval")})
    summary = {
        "format": FORMAT,
        "name": plan.experiment.name,
        "rounds": rounds,
        "best_round": outcome.best,
        "reason": outcome.reason,
        "weights": plan.weights(outcome.best),
        "steps": list(steps),
    }
    write_json(plan.file(SUMMARY), summary, force=True)


def read_finished(folder: str) -> tuple[Plan, Outcome, dict[str, Marker]]:
    """Return the plan of the finished run in `folder`, its outcome, and the marker of every step.

    Raises InputError if there is no finished run, or if what it has done is not what its experiment
    says by now: it was changed, and the run not finished since.
    """
    if not os.path.isdir(folder):
        there = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise InputError(f"{folder} {there}: expected the run folder of a finished 'sjft run'")
    if not os.path.isfile(os.path.join(folder, MARKER)):
        raise InputError(
            f"{folder} holds no finished run of 'sjft run', which would have made {MARKER} in it: "
            f"expected a run folder"
        )
    summary = _summary(folder)
    try:
        outcome = Outcome(len(summary["rounds"]), summary["best_round"], summary["reason"])
        names = [str(name) for name in summary["steps"]]
    except (KeyError, TypeError):
        raise _damaged(os.path.join(folder, SUMMARY)) from None
    plan = Plan(read_experiment(os.path.join(folder, COPY)), folder)
    steps = {step.name: step for step in plan.all_steps()}
    done = {}
    for name in names:
        path = marker_file(os.path.join(folder, FOLDER), name)
        marker = read_marker(path)
        if marker is not None and not _KEYS.issubset(marker):
            raise _damaged(str(path))
        words = steps[name].words if name in steps else []
        # a run folder that was copied elsewhere is as good
        if marker is None or not is_same_command(_names(marker["command"]), _names(words)):
            raise InputError(
                f"{folder} holds no finished run of 'sjft run': the step {name} is not done as its "
                f"{COPY} says; give the same 'sjft run' again to finish it"
            )
        done[name] = marker
    return plan, outcome, done


def _names(words: Sequence[str]) -> list[str]:
    return [os.path.basename(word) for word in words]


def _summary(folder: str) -> Any:
    path = os.path.join(folder, SUMMARY)
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no finished run of 'sjft run', only one that has begun: give the same "
            f"'sjft run' again to finish it"
        ) from None
    except ValueError:
        raise _damaged(path) from None


def _damaged(path: str) -> InputError:
    return InputError(
        f"{path} is damaged: expected it as 'sjft run' wrote it; give the same 'sjft run' again"
    )
