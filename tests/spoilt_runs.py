"""Experiments of ``sjft run``, and what is said of them before their first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from digits_run import write
from sjft.errors import InputError
from sjft_tools.experiment.net_trial import NetFacts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.validation import validate

SOLVER = "prototxt/demo/joint_solver.prototxt"
DEPLOY = "prototxt/demo/deploy.prototxt"


def checked(folder: Path, content: dict[str, Any]) -> NetFacts:
    path = str(write(folder, content))
    return validate(Plan(read_experiment(path), str(folder / "run")), path)


def refusal(folder: Path, content: dict[str, Any]) -> str:
    with pytest.raises(InputError) as refused:
        checked(folder, content)
    assert not (folder / "run").exists()
    return str(refused.value)
