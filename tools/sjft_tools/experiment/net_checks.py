"""What an experiment's nets, read as text, must have in common with each other and with the data.

Nothing is built: that is net_trial's part.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.adapting import net_of
from sjft_tools.checks.classifiers import check_classifiers
from sjft_tools.checks.data_bases import DataBases, Labels, image_labels
from sjft_tools.checks.data_layers import check_data_layers
from sjft_tools.checks.report import Report
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import option_values
from sjft_tools.image_sets.class_folders import folder_names
from sjft_tools.models.loading import borrowers
from sjft_tools.net_files import layers_of, read_net, sjft_layer
from sjft_tools.pycaffe import caffe_messages
from sjft_tools.solver_files import SolverNet, read_message, solver_nets
from sjft_tools.training.plan import check_format

#: Published set -> its classes; of Caltech-256 without the clutter, which is one more.
_PUBLISHED = {
    **{"stanford-dogs": 120, "flowers102": 102, "caltech256": 256, "mit67": 67},
    **{"imagenet": 1000, "places205": 205, "tiny-imagenet": 200},
}
_TARGETS = ("target_train", "target_test", "target_validation")
_DENSE = "dense"


class _Strict(Report):
    """Says nothing of what is well, and raises InputError for what is not."""

    def ok(self, name: str, detail: str) -> None:
        pass

    def skip(self, name: str, reason: str) -> None:
        pass

    def fail(self, name: str, problem: str, remedy: str) -> None:
        raise InputError(f"{name}: {problem}" + (f": {remedy}" if remedy else ""))


def known_labels(plan: Plan) -> dict[str, Labels]:
    """Return role -> labels, of all image sets of which they are known before the first step."""
    found = {}
    for role, given in plan.experiment.images.items():
        if isinstance(given, str):
            found[role] = image_labels(ImageLmdb(given, role.replace("_", " ")), "labels")
        elif _classes(given):
            found[role] = Labels(_classes(given), f"labels of {shlex.join(given[:2])}")
    return found


def check_class_names(plan: Plan) -> None:
    """Raise InputError if a label means another class to the net when it is tested.

    Before a round trains it is checked as well; of LMDBs and folders it is known before.
    """
    images = plan.experiment.images
    test = "target_validation" if "target_validation" in images else "target_test"
    trained, tested = (_class_names(images[role]) for role in ("target_train", test))
    if trained and tested and trained != tested:
        raise InputError(
            f"'target_train' and '{test}' give their labels different class names: expected "
            f"folders with the same classes, or both converted with one file of --class-names"
        )


def _class_names(given: str | list[str]) -> list[str]:
    """Return the class names of an LMDB, or of folders to be converted; none if not known."""
    if isinstance(given, str):
        return list(ImageLmdb(given).class_names)
    form, place = given[:2]
    if form == "folder" and os.path.isdir(place) and "--class-names" not in given:
        return folder_names(place)
    return []


def _classes(words: list[str]) -> int:
    """Return how many classes 'sjft convert' finds, `words` being its arguments; 0: not known."""
    form, place = words[:2]
    if form == "folder" and os.path.isdir(place) and "--class-names" not in words:
        return len(folder_names(place))
    return _PUBLISHED.get(form, 0) + ("--clutter" in words)


def check_nets(plan: Plan, labels: Mapping[str, Labels]) -> None:
    """Raise InputError if the nets cannot do what the steps want of them.

    Deploy nets must have the joint net's layers; no label may lie beyond the target's classifier;
    '--crops dense' goes with a net for it. `labels`: of known_labels.
    """
    _check_crops(plan)
    path = net_of(plan.experiment.net["solver"])
    joint = read_net(path)
    solver = plan.experiment.net["solver"]
    check_format(read_message(solver, caffe_messages().SolverParameter()), solver)
    outputs = {name: count for phase in ("TRAIN", "TEST") for name, count in _outputs(joint, phase)}
    for key in ("deploy", "deploy_dense"):
        deploy = plan.experiment.net[key]
        for name, count in _outputs(read_net(deploy), "TEST") if deploy else ():
            if name not in outputs:
                raise InputError(
                    f"section 'net', '{key}': the layer '{name}' of {deploy} is not in {path}, the "
                    f"net of 'solver', and would find no trained weights: expected the same names"
                )
            if count != outputs[name]:
                raise InputError(
                    f"section 'net', '{key}': the layer '{name}' has {count} outputs in {deploy}, "
                    f"but {outputs[name]} in {path}, the net of 'solver': expected as many"
                )
    _check_classifiers(joint, path, labels)


def _check_crops(plan: Plan) -> None:
    is_dense = _DENSE in option_values(plan.experiment.evaluate, ("--crops",))
    if is_dense and not plan.experiment.net["deploy_dense"]:
        raise InputError(
            "'evaluate' has '--crops dense', but section 'net' no 'deploy_dense': expected a fully "
            "convolutional net, as 'sjft prototxt' writes it"
        )
    if plan.experiment.net["deploy_dense"] and not is_dense:
        raise InputError(
            "section 'net' has a 'deploy_dense', but 'evaluate' no '--crops dense', which it is "
            "for: expected both or neither"
        )


def _outputs(net: Any, phase: str) -> list[tuple[str, int]]:
    """Return name and number of outputs of all layers with weights of their own that state it."""
    found = []
    layers = layers_of(net, phase)
    borrowing = borrowers(layers)
    for layer in (layer for layer in layers if layer.name not in borrowing):
        for param in (layer.inner_product_param, layer.convolution_param):
            if param.num_output:
                found.append((layer.name, int(param.num_output)))
    return found


def _check_classifiers(joint: Any, path: str, labels: Mapping[str, Labels]) -> None:
    """Check the target's labels against its classifiers; warn of the source's, of which some may
    not be selected."""
    target = max((labels[role] for role in _TARGETS if role in labels), default=None)
    source = labels.get("source")
    for phase in ("TRAIN", "TEST"):
        layers = layers_of(joint, phase)
        net = SolverNet(f"{path} ({phase})", phase == "TRAIN", layers)
        for layer in layers:
            if sjft_layer(layer) not in ("JointDataLayer", "TargetDataLayer"):
                continue
            if target is not None and len(layer.top) > 1:
                check_classifiers(_Strict(), net, {layer.top[1]: target})
            if source is not None and len(layer.top) > 2:
                try:
                    check_classifiers(_Strict(), net, {layer.top[2]: source})
                except InputError as problem:
                    print(f"warning: {problem}, unless fewer are selected", flush=True)


def check_round(solver: str) -> None:
    """Raise InputError if a round cannot be trained: its data and the labels in its classifiers.

    `solver`: the file that was adapted for it. As 'sjft check', but that Caffe builds nothing.
    """
    messages = caffe_messages()
    report = _Strict()
    message = read_message(solver, messages.SolverParameter())
    nets = solver_nets(message, solver, messages.NetParameter)
    bases = DataBases(report, solver)
    for net in nets:
        check_classifiers(report, net, check_data_layers(report, net, bases))
    bases.check_target_classes()
