"""What can be known to fail before the first step: options, missing files, unusable LMDBs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import NoReturn

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import Parser
from sjft_tools.experiment.fingerprints import MISSING, Fingerprints
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import check_run_folder
from sjft_tools.experiment.step import Step

# What would put a result elsewhere than in the run folder, in one place for all rounds.
_OUTPUTS = {"--json", "--scores", "--details", "--out", "--sheet", "--figure"}


class _StrictParser(Parser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def validate(plan: Plan) -> None:
    """Raise InputError if a step cannot work: at once, and not when its turn comes."""
    check_run_folder(plan.folder, plan.experiment.name)
    _check_inputs(list(plan.all_steps()))
    check_options(plan)
    for role, given in plan.experiment.images.items():
        if isinstance(given, str):
            ImageLmdb(given, role.replace("_", " "))


def check_options(plan: Plan) -> None:
    """Raise InputError if a command would not take its options."""
    for step in plan.all_steps():
        _check_step(step)


def _check_step(step: Step) -> None:
    module = importlib.import_module(f"sjft_tools.commands.{step.words[1].replace('-', '_')}")
    parser = _StrictParser(prog=f"sjft {step.words[1]}", add_help=False)
    module.add_arguments(parser)
    try:
        parser.parse_args(list(step.words[2:]))
        _check_outputs(step)
    except InputError as error:
        raise InputError(f"the step '{step.line}' cannot work: {error}") from None


def _check_outputs(step: Step) -> None:
    for word, following in zip(step.words, [*step.words[1:], ""]):
        option, equals, value = word.partition("=")
        if option in _OUTPUTS and (value if equals else following) not in step.outputs:
            raise InputError(
                f"{option} is not for an experiment, whose results all lie in its run folder"
            )


def _check_inputs(steps: Sequence[Step]) -> None:
    """Raise InputError if a step reads what is neither there nor made by a step before it."""
    made: set[str] = set()
    fingerprints = Fingerprints()
    for step in steps:
        for path in step.inputs:
            if path not in made and fingerprints.of(path) == MISSING:
                raise InputError(f"{path} does not exist: '{step.line}' is to read it")
        made.update(step.outputs)
