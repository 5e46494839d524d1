"""Labels against the classifiers they teach: none may lie beyond the classifier's last output.

But one that the layer which compares them ignores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from sjft.errors import InputError
from sjft.layer_params import parse_multi_task_loss
from sjft_tools.checks.data_bases import Labels
from sjft_tools.checks.data_layers import place
from sjft_tools.checks.report import CheckFailed, Report
from sjft_tools.net_files import sjft_layer
from sjft_tools.solver_files import SolverNet

#: Caffe's layers whose bottoms are scores and labels -> the field that may name a label to ignore.
LABEL_LAYERS = {
    "SoftmaxWithLoss": "loss_param",
    "InfogainLoss": "loss_param",
    "Accuracy": "accuracy_param",
    "HingeLoss": None,
    "MultinomialLogisticLoss": None,
}

#: Layers that leave the number of channels of their first bottom as it is.
_CHANNEL_KEEPERS = (
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Crop", "Dropout", "ELU", "Eltwise", "Exp", "Flatten"),
    *("Log", "LRN", "Pooling", "Power", "PReLU", "ReLU", "Scale", "Sigmoid", "Softmax", "Split"),
    *("Swish", "TanH"),
)


def check_classifiers(report: Report, net: SolverNet, labels: dict[str, Labels]) -> None:
    """Check all pairs of scores and labels in `net`; `labels`: what is known of labels, by blob."""
    seen = set()
    for index, scores, blob in _pairs(net):
        pair = (scores, blob, ignored_label(net.layers[index]))
        if blob in labels and pair not in seen:
            seen.add(pair)
            fits = partial(_fits, net, index, scores, labels[blob])
            report.check(f"labels of '{scores}' in {net.name}", fits, "")


def _pairs(net: SolverNet) -> Iterator[tuple[int, str, str]]:
    """Yield (index of the layer, blob of scores, blob of labels) wherever a layer takes both."""
    for index, layer in enumerate(net.layers):
        if layer.type in LABEL_LAYERS and len(layer.bottom) > 1:
            yield index, layer.bottom[0], layer.bottom[1]
        elif sjft_layer(layer) == "MultiTaskLossLayer":
            for scores, blob in zip(layer.bottom[::2], layer.bottom[1::2]):
                yield index, scores, blob


def ignored_label(layer: Any) -> int | None:
    """Return the label that a LayerParameter of scores and labels ignores, None if it has none."""
    if sjft_layer(layer) == "MultiTaskLossLayer":
        with contextlib.suppress(InputError):  # of which the check of the layer tells
            return parse_multi_task_loss(layer.python_param.param_str).ignore_label
    field = LABEL_LAYERS.get(layer.type)
    param = None if field is None else getattr(layer, field)
    return int(param.ignore_label) if param is not None and param.HasField("ignore_label") else None


def _fits(net: SolverNet, index: int, scores: str, known: Labels) -> tuple[None, str]:
    half = _half(net, index, scores)
    if half is not None and known.half is not None and half != known.half:
        raise CheckFailed(
            f"'{scores}' is of the {('first', 'second')[half]} half of the batch, but the "
            f"{known.what} are of the other",
            "put target before source in the tops of both the data layer and the Slice",
        )
    if ignored_label(net.layers[index]) == known.classes - 1:
        return None, f"the greatest of the {known.what}, {known.classes - 1}, is ignored"
    classifier = _classifier(net, index, scores)
    if classifier is None:
        return None, f"{known.what} go up to {known.classes - 1}; how many outputs is not known"
    name, outputs = classifier
    if known.classes > outputs:
        raise CheckFailed(
            f"'{name}' has {outputs} outputs, but the {known.what} go up to {known.classes - 1}",
            f"set num_output of '{name}' to {known.classes} or more, or write another net by "
            f"'sjft prototxt' or 'sjft graft'",
        )
    return None, f"'{name}' has {outputs} outputs, the {known.what} go up to {known.classes - 1}"


def _half(net: SolverNet, index: int, blob: str) -> int | None:
    """Return which half of a batch `blob`, a bottom of layer `index`, is of by the net's Slice.

    0 or 1, None if no Slice cuts the batch in two.
    """
    for at in range(index - 1, -1, -1):
        layer = net.layers[at]
        if blob in layer.top and layer.bottom:
            if layer.type == "Slice" and layer.slice_param.axis == 0 and len(layer.top) == 2:
                return list(layer.top).index(blob)
            blob = layer.bottom[0]
    return None


def _classifier(net: SolverNet, index: int, blob: str) -> tuple[str, int] | None:
    """Return name and number of outputs of the layer that decides the channels of `blob`.

    `blob` is a bottom of layer `index`. None if a layer on the way is not known to keep them.
    """
    for at in range(index - 1, -1, -1):
        layer = net.layers[at]
        if blob not in layer.top:
            continue
        if layer.type == "InnerProduct":
            return layer.name, layer.inner_product_param.num_output
        if layer.type in ("Convolution", "Deconvolution"):
            return layer.name, layer.convolution_param.num_output
        if not _keeps_channels(layer) or not layer.bottom:
            return None
        blob = layer.bottom[0]
    return None


def _keeps_channels(layer: Any) -> bool:
    along_batch = (layer.type == "Slice" and layer.slice_param.axis == 0) or (
        layer.type == "Concat" and layer.concat_param.axis == 0
    )
    return layer.type in _CHANNEL_KEEPERS or along_batch


def check_losses(report: Report, net: SolverNet) -> None:
    """Check that the train net has a loss, and that every MultiTaskLossLayer has loss weights."""
    weights: list[str] = []
    for layer in net.layers:
        if sjft_layer(layer) == "MultiTaskLossLayer":
            report.check(f"loss weights of {place(layer, net)}", partial(_weighted, layer), "")
        given = list(layer.loss_weight)
        if not given and layer.type.endswith("Loss"):
            given = [1.0]
        weights += [f"{top} ({weight:g})" for top, weight in zip(layer.top, given) if weight]

    def any_loss() -> tuple[None, str]:
        if not weights:
            raise CheckFailed(
                f"{net.name} has no loss: nothing would be trained",
                "add a loss layer, or loss_weight: 1 to the layer whose top is the loss",
            )
        return None, ", ".join(weights)

    report.check(f"losses of {net.name}, with weights", any_loss, "")


def _weighted(layer: Any) -> tuple[None, str]:
    given, tops = list(layer.loss_weight), list(layer.top)
    wanted = " ".join(["loss_weight: 1", *["loss_weight: 0"] * (len(tops) - 1)])
    if not any(given):
        raise CheckFailed(
            "Caffe trains on a Python layer's top only if it has a loss_weight, and none has one",
            f"add '{wanted}' to the layer",
        )
    if len(given) != len(tops):
        raise CheckFailed(
            f"it has {len(tops)} tops, but {len(given)} loss_weight",
            f"write '{wanted}', one for each top",
        )
    return None, " ".join(f"{weight:g}" for weight in given)
