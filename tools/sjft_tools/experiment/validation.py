"""What can be known to fail before the first step: options, files, LMDBs, nets, weights."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import NoReturn

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.banks.alexnet_weights import read_weights
from sjft_tools.command import Parser
from sjft_tools.experiment.net_checks import check_class_names, check_nets, known_labels
from sjft_tools.experiment.net_trial import NetFacts, check_crops, check_labels, net_facts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import check_run_folder
from sjft_tools.experiment.step import Step, read_markers

# What would put a result elsewhere than in the run folder, in one place for all rounds.
_OUTPUTS = {"--json", "--scores", "--details", "--out", "--sheet", "--figure", "--work"}
_UNFIT = {
    "--force": "whose steps replace what they have to",
    "--shard": "of which one run does all parts: expected --workers or --scheduler",
}


class _StrictParser(Parser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def validate(plan: Plan, path: str) -> NetFacts:
    """Raise InputError if a step cannot work: at once, and not when its turn comes.

    `path`: the experiment's file. Returns what is known of its nets.
    """
    check_run_folder(plan.folder, plan.experiment.name)
    _check_inputs(plan, path)
    check_options(plan)
    bank_weights = plan.experiment.bank and plan.experiment.bank["weights"]
    if bank_weights and os.path.exists(bank_weights):
        read_weights(bank_weights)
    labels = known_labels(plan)
    check_class_names(plan)
    _check_source(plan)
    _check_found_neighbours(plan)
    check_nets(plan, labels)
    facts = net_facts(plan)
    check_labels(plan, facts, labels)
    check_crops(plan, facts)
    return facts


def _check_source(plan: Plan) -> None:
    given = plan.experiment.images["source"]
    if isinstance(given, str) and plan.experiment.bank is not None:
        count = ImageLmdb(given, "source").count
        if plan.k > count:
            raise InputError(
                f"section 'neighbours': k is {plan.k}, but {given} has {count} images: expected at "
                f"most as many"
            )


def _check_found_neighbours(plan: Plan) -> None:
    """Raise InputError if neighbours of another run are too few, or of other images."""
    path, k0 = plan.experiment.neighbours, plan.experiment.net["k0"]
    if not isinstance(path, str):
        return
    if k0 > plan.k:
        raise InputError(
            f"k0 {k0} neighbours are to be used, but 'neighbours', {path}, has {plan.k} of every "
            f"image: expected k0 up to that"
        )
    info = NeighbourLmdb(path).info
    for role, key in (("target_train", "target"), ("source", "source")):
        images = plan.experiment.images[role]
        if (
            isinstance(images, str)
            and ImageLmdb(images, key).fingerprint != (info[f"{key}_fingerprint"])
        ):
            raise InputError(
                f"'neighbours', {path}, is of other {key} images than '{role}', {images}: expected "
                f"those of the run that found them"
            )


def check_options(plan: Plan) -> None:
    """Raise InputError if a command would not take its options."""
    for step in plan.all_steps():
        _check_step(step)


def _check_step(step: Step) -> None:
    module = importlib.import_module(f"sjft_tools.commands.{step.words[1].replace('-', '_')}")
    parser = _StrictParser(prog=f"sjft {step.words[1]}", add_help=False)
    module.add_arguments(parser)
    try:
        args = parser.parse_args(list(step.words[2:]))
        if hasattr(module, "check"):
            module.check(args)
        _check_outputs(step)
        _check_repetitions(step)
    except InputError as error:
        raise InputError(f"the step '{step.line}' cannot work: {error}") from None


def _check_outputs(step: Step) -> None:
    for word, following in zip(step.words, [*step.words[1:], ""]):
        option, equals, value = word.partition("=")
        if option in _UNFIT:
            raise InputError(f"{option} is not for an experiment, {_UNFIT[option]}")
        if option in _OUTPUTS and (value if equals else following) not in step.outputs:
            raise InputError(
                f"{option} is not for an experiment, whose results all lie in its run folder"
            )


def _check_repetitions(step: Step) -> None:
    """Raise InputError for an option given twice, of which the command would take the last.

    But for --gpu: a step may have one of its own.
    """
    options = [word for word in step.words if word.startswith("--") and word != "--gpu"]
    for option in options:
        if options.count(option) > 1:
            raise InputError(
                f"{option} stands twice, maybe since another key of the experiment gives it: "
                f"expected it once"
            )


def _check_inputs(plan: Plan, file: str) -> None:
    """Raise InputError if a step reads what is neither there nor made by a step before it.

    Or what is in the run folder, where the run makes room for what its own steps make.
    """
    for key in ("solver", "deploy", "deploy_dense", "weights"):
        given = plan.experiment.net[key]
        if given and not os.path.exists(given):
            raise InputError(
                f"section 'net', '{key}': {given} does not exist{_elsewhere(given, file)}"
            )
    made: set[str] = set()
    ended = read_markers(plan.folder)
    inside = os.path.realpath(plan.folder)
    for step in plan.all_steps():
        for path in step.inputs:
            if path in made:
                continue
            if os.path.commonpath([inside, os.path.realpath(path)]) == inside:
                raise InputError(
                    f"{path}, which '{step.line}' is to read, is in the run folder {plan.folder}, "
                    f"whose contents the run itself makes: expected another place"
                )
            # what a step has read that has ended may be gone
            if not os.path.exists(path) and path not in ended.get(step.name, {}).get("inputs", ()):
                raise InputError(
                    f"{path} does not exist: '{step.line}' is to read it{_elsewhere(path, file)}"
                )
        made.update(step.outputs)


def _elsewhere(path: str, file: str) -> str:
    """Say from where the missing `path` was looked for, and from where it would be found."""
    if os.path.isabs(path):
        return ""
    seen = f"; paths are seen from {os.getcwd()}"
    for folder in Path(file).resolve().parents:
        if (folder / path).exists():
            return f"{seen}, but it is in {folder}: give the command there"
    return seen
