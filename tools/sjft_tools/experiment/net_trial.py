"""Whether Caffe builds an experiment's nets, and takes the weights that it starts from.

What was found is kept in the run folder, for as long as the files stay the same.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from sjft.errors import InputError
from sjft_tools.adapting import net_of
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.caffemodel import blob_shape, read_caffemodel, trained_blobs
from sjft_tools.checks.data_bases import Labels
from sjft_tools.experiment.fingerprints import Fingerprints
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.step import FOLDER
from sjft_tools.json_file import read_json, write_json
from sjft_tools.models.loading import borrowers, loading
from sjft_tools.net_files import Built, build, layers_of, read_net
from sjft_tools.pycaffe import import_caffe
from sjft_tools.solver_files import read_text
from sjft_tools.training.plan import check_gpus

FILE = os.path.join(FOLDER, "nets.json")
_ON_GPU = "import caffe, sys; caffe.set_device(int(sys.argv[1])); caffe.set_mode_gpu()"


class NetFacts(NamedTuple):
    """What is known of the nets that the files and the GPU `of` name.

    `weights`: bytes of the net's weights; `classes`: key of the section 'net' -> scores per image
    of that deploy net, 0 where it is not known; `crop`: the side in pixels of the images that
    'deploy' takes, 0 where it takes none.
    """

    of: dict[str, str]
    weights: int
    classes: dict[str, int]
    crop: int


def net_facts(plan: Plan) -> NetFacts:
    """Return what the run folder knows of the nets, or else try them.

    Raises InputError if Caffe has not the GPU that is asked for, cannot build a deploy net, or
    cannot start from the weights.
    """
    of = _identity(plan)
    try:
        known = NetFacts(**read_json(plan.file(FILE)))
        if known.of == of:
            return known
    except (OSError, ValueError, TypeError):
        pass
    return _try(plan, of)


def keep_facts(plan: Plan, facts: NetFacts) -> None:
    """Write them into the run folder."""
    write_json(plan.file(FILE), facts._asdict(), force=True)


def check_labels(plan: Plan, facts: NetFacts, labels: Mapping[str, Labels]) -> None:
    """Raise InputError if an image set has labels beyond the classes of the net that scores it.

    `labels`: of net_checks.known_labels.
    """
    net = plan.experiment.net
    evaluating = "deploy_dense" if net["deploy_dense"] else "deploy"
    for role, key in (
        ("target_train", "deploy"),
        ("target_test", evaluating),
        ("target_validation", evaluating),
    ):
        classes = facts.classes.get(key, 0)
        if role in labels and classes and labels[role].classes > classes:
            raise InputError(
                f"'{role}': the {labels[role].what} go up to {labels[role].classes - 1}, but "
                f"'{key}' of section 'net', {net[key]}, has {classes} classes: expected labels up "
                f"to {classes - 1}"
            )


def check_crops(plan: Plan, facts: NetFacts) -> None:
    """Raise InputError if images are to be made smaller than the net's input."""
    experiment, deploy = plan.experiment, plan.experiment.net["deploy"]
    for key in ("harden",) if experiment.net["deploy_dense"] else ("evaluate", "harden"):
        options = getattr(experiment, key)
        for option, value in zip(options, options[1:]):
            if option in ("--resize", "--resize-shorter") and int(value) < facts.crop:
                raise InputError(
                    f"'{key}': {option} {value} makes images smaller than {deploy} takes them: "
                    f"expected at least {facts.crop}"
                )


def _identity(plan: Plan) -> dict[str, str]:
    net, of = plan.experiment.net, Fingerprints().of
    files = {key: net[key] for key in ("solver", "deploy", "deploy_dense", "weights") if net[key]}
    files["net of solver"] = net_of(net["solver"])
    return {**{key: of(path) for key, path in files.items()}, "gpu": str(net["gpu"])}


def _try(plan: Plan, of: dict[str, str]) -> NetFacts:
    net = plan.experiment.net
    if net["gpu"] is not None:
        numbers = str(net["gpu"]).split(",")
        for number in numbers:
            _try_gpu(number)
        check_gpus(import_caffe(), len(numbers))
    built, classes = {}, {}
    for key in ("deploy", "deploy_dense"):
        if net[key]:
            built[key] = build(read_text(net[key]), "TEST", net[key])
            classes[key] = _scores(read_net(net[key]), built[key])
    if net["weights"] and not net["weights"].endswith(".h5"):
        _check_weights(net["weights"], net_of(net["solver"]), net["deploy"], built["deploy"])
    values = sum(math.prod(s) for shapes in built["deploy"].params.values() for s in shapes)
    return NetFacts(of, 4 * values, classes, _crop(read_net(net["deploy"]), built["deploy"]))


def _try_gpu(number: str) -> None:
    status, output = run_process([sys.executable, "-c", _ON_GPU, number])
    if status:
        raise InputError(
            f"section 'net', 'gpu': Caffe cannot use GPU {number} ({reason(status, output)}): "
            f"expected the number of one, or null for what the solver says"
        )


def _crop(net: Any, built: Built) -> int:
    tops = [*net.input, *(top for layer in net.layer if not layer.bottom for top in layer.top)]
    shapes = [built.shapes[top] for top in tops[:1] if top in built.shapes]
    return max((max(shape[2:]) for shape in shapes if len(shape) == 4), default=0)


def _scores(net: Any, built: Built) -> int:
    """Return the scores per image of a net with one output, 0 of others, where '--output' tells."""
    outputs: set[str] = set()
    for layer in layers_of(net, "TEST"):
        outputs = outputs - set(layer.bottom) | set(layer.top)
    shapes = [built.shapes[name] for name in outputs]
    return shapes[0][1] if len(shapes) == 1 and len(shapes[0]) > 1 else 0


def _check_weights(weights: str, joint: str, deploy: str, built: Built) -> None:
    """Raise InputError if Caffe would end at the weights, or would load nothing of them."""
    blobs = trained_blobs(read_caffemodel(weights))
    layers = layers_of(read_net(joint), "TRAIN")
    names = {layer.name for layer in layers} - borrowers(layers)
    wanted = {name: shapes for name, shapes in built.params.items() if name in names}
    where = f"section 'net', 'weights': {weights}"
    for name, why in loading(wanted, blobs).refused.items():
        raise InputError(
            f"{where} does not fit the layer '{name}', at which Caffe would end: {why}, "
            f"{deploy}; where only the number of classes differs, 'sjft models {joint} {weights} "
            f"--fitted NEW.caffemodel' writes weights without that layer, which then starts anew"
        )
    for layer in layers:
        count = layer.inner_product_param.num_output or layer.convolution_param.num_output
        if layer.name in wanted or layer.name not in blobs or not count:
            continue
        if layer.type == "Deconvolution" or layer.inner_product_param.transpose:
            continue  # whose first axis is not the outputs
        shape = blob_shape(blobs[layer.name][0])
        found = shape[2] if layer.type == "InnerProduct" and len(shape) == 4 else shape[0]
        if found != count:
            raise InputError(
                f"{where} has {found} outputs for the layer '{layer.name}', but {joint} {count}, "
                f"and Caffe would end: rename the layer in the net, so that it starts at random"
            )
    if not names & set(blobs):
        raise InputError(
            f"{where} has no weights for any layer of {joint}, which would all start at random: "
            f"expected layers of the same names, or null to train from scratch"
        )
