"""Steps of an experiment, run in this process."""

from __future__ import annotations

from pathlib import Path

from sjft_tools.experiment.run_lock import run_lock
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.steps import Steps


def run_all(folder: Path, *steps: Step) -> None:
    with run_lock(str(folder)) as lock:
        each = Steps(str(folder), lock)
        for step in steps:
            each.run(step)
