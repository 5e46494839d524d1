"""The nets that a trained trunk is used in: one head, both heads, or scores of every window.

All take the weights of a joint training by name; the target's head alone also those of the
baseline. `data` is N x 3 x H x W in B, G, R, less the mean.
"""

from __future__ import annotations

from sjft_tools.nets import layers as L
from sjft_tools.nets.dense import inner_product_as_convolution
from sjft_tools.nets.joint import Task
from sjft_tools.nets.text import Item, Message, net_text
from sjft_tools.nets.trunk import Trunk

#: Side of the images that a dense net's file states; the caller reshapes `data` to any other.
DENSE_SIDE = 256


def target_deploy(name: str, header: str, trunk: Trunk, task: Task) -> str:
    """The net for images of crop x crop, with the target's classifier: `prob`, N x classes."""
    return deploy_text(name, header, task, task.crop, [*trunk.items, *head(trunk, task, "target")])


def both_deploy(name: str, header: str, trunk: Trunk, task: Task) -> str:
    """The same with both classifiers: `prob_target` and `prob_source`.

    Output i of the source's stands for the i-th class that took part in training.
    """
    heads = [*head(trunk, task, "target", "_target"), *head(trunk, task, "source", "_source")]
    return deploy_text(name, header, task, task.crop, [*trunk.items, *heads])


def dense_deploy(name: str, header: str, trunk: Trunk, task: Task) -> str:
    """The net for images of any size from crop x crop on: the mean of all windows' probabilities.

    `fc_target_map` (N x classes x H' x W') holds the scores of every window as large as a training
    crop, 32 pixels apart; `prob` (N x classes x 1 x 1) the mean of their softmax.
    """
    whole = trunk.for_any_size()
    tail: list[Item] = [
        *inner_product_as_convolution(
            "fc_target", whole.top, "fc_target_map", task.target_classes, trunk.features, kernel=1
        ),
        L.softmax("prob_map", "fc_target_map"),
        L.global_average("prob", "prob_map"),
    ]
    return deploy_text(name, header, task, max(DENSE_SIDE, task.crop), [*whole.items, *tail])


def head(trunk: Trunk, task: Task, kind: str, suffix: str = "") -> list[Message]:
    """The classifier of `kind` (target or source), and its probabilities, `prob` + `suffix`."""
    classes = task.target_classes if kind == "target" else task.source_classes
    name = f"fc_{kind}"
    return [L.classifier(name, trunk.top, classes), L.softmax(f"prob{suffix}", name)]


def deploy_text(name: str, header: str, task: Task, side: int, items: list[Item]) -> str:
    """A net of `items` on an input of side x side, without what only training needs."""
    data = L.input_layer("data", (1, 3, side, side))
    plain = [item if isinstance(item, str) else L.without_training(item) for item in items]
    mean = ", ".join(str(value) for value in task.mean)
    comment = f"data: {side} x {side} pixels in B, G, R, less the mean {mean}."
    return net_text(name, header, [comment, data, *plain])
