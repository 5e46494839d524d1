"""Finding a net's classifiers: from each loss, or Softmax, back to the layer that makes scores."""

from __future__ import annotations

from dataclasses import dataclass

from sjft.errors import InputError
from sjft_tools.grafting.original import Layer, Original

#: Layers with one bottom that may stand between a classifier and its loss.
BETWEEN = (
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "ELU", "Exp", "Flatten", "Log", "Pooling"),
    *("Power", "PReLU", "ReLU", "Reshape", "Scale", "Sigmoid", "TanH"),
)
CLASSIFIERS = ("InnerProduct", "Convolution")
LOSS = "SoftmaxWithLoss"


@dataclass(frozen=True)
class Head:
    """A classifier, the layers between it and its loss, the loss's weight and name.

    `at` is the classifier's place among the net's layers; `scores` the blob that the loss reads.
    """

    at: int
    classifier: Layer
    between: list[Layer]
    scores: str
    weight: float
    loss: str

    @property
    def bottom(self) -> str:
        """The features: what the classifier reads."""
        return self.classifier.bottoms[0]


def find_heads(net: Original) -> list[Head]:
    """Return the net's heads, the main one last: that of the largest weight, or of the end.

    Raises InputError if there is none, or a loss that the joint one cannot stand for.
    """
    heads: dict[int, Head] = {}
    for index, scores, weight in _ends(net):
        head = _head(net, index, scores, weight)
        heads.setdefault(head.at, head)
    if not heads:
        raise InputError(f"{net.path} {_NO_CLASSIFIER}")
    if len(heads) > 1 and not net.trains:
        names = ", ".join(head.classifier.name for head in heads.values())
        raise InputError(
            f"{net.path} has {len(heads)} classifiers ({names}) and no losses whose weights tell "
            f"the main one: expected one classifier, or a train_val net"
        )
    return sorted(heads.values(), key=lambda head: (head.weight, head.at))


_NO_CLASSIFIER = (
    "has no classifier to graft onto: expected scores of an InnerProduct or Convolution that go "
    f"into a {LOSS}, a Softmax, or out of the net"
)


def _ends(net: Original) -> list[tuple[int, str, float]]:
    """Where scores end: (index of the layer, blob, loss weight), of losses if there are any."""
    losses = []
    for index, layer in enumerate(net.layers):
        if "Loss" not in layer.type or "TRAIN" not in layer.phases:
            continue
        if layer.type != LOSS:
            raise InputError(
                f"{net.path}: '{layer.name}' is a {layer.type}, for which the joint loss cannot "
                f"stand: expected {LOSS}"
            )
        if not layer.bottoms:
            raise InputError(f"{net.path}: '{layer.name}' reads no scores: expected bottoms")
        weights = layer.fields.get("loss_weight", [1])
        if weights[0]:
            losses.append((index, layer.bottoms[0], float(weights[0])))
    if losses:
        return losses
    softmaxes = [
        (index, layer.bottoms[0], 1.0)
        for index, layer in enumerate(net.layers)
        if layer.type == "Softmax" and layer.bottoms
    ]
    if softmaxes:
        return softmaxes
    read = {bottom for layer in net.layers for bottom in layer.bottoms if bottom not in layer.tops}
    outputs = {top for layer in net.layers for top in layer.tops} - read
    return [(len(net.layers), outputs.pop(), 1.0)] if len(outputs) == 1 else []


def _head(net: Original, index: int, scores: str, weight: float) -> Head:
    """The head whose loss, layer `index`, reads the blob `scores`."""
    loss = net.layers[index].name if index < len(net.layers) else "loss"
    between: list[Layer] = []
    blob = scores
    for at in range(index - 1, -1, -1):
        layer = net.layers[at]
        if blob not in layer.tops:
            continue
        if layer.type in CLASSIFIERS and len(layer.bottoms) == 1:
            return Head(at, layer, between[::-1], scores, weight, loss)
        if layer.type not in BETWEEN or len(layer.bottoms) != 1:
            raise InputError(
                f"{net.path} {_NO_CLASSIFIER}; '{layer.name}', a {layer.type}, stands before "
                f"'{loss}'"
            )
        between.append(layer)
        blob = layer.bottoms[0]
    raise InputError(f"{net.path} {_NO_CLASSIFIER}")
