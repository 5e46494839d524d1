"""The training nets around a shared trunk: joint training and its single-task baseline.

Arrangement of the joint net. TRAIN: a batch is half target, half source; the trunk sees it whole,
`pool5` is cut in two, each task has its own classifier. TEST: target images alone go through the
same trunk. Both phases name the target's half `pool5_target`, so that the target's classifier
stands once and serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sjft.layer_params import JOINT_DATA_SPEC
from sjft_tools.nets import layers as L
from sjft_tools.nets.text import Item, Message, net_text
from sjft_tools.nets.trunk import Trunk


@dataclass(frozen=True)
class DataPaths:
    """Where the data bases lie, as seen from the folder in which Caffe runs."""

    target: str = "data/target_train_lmdb"
    target_test: str = "data/target_test_lmdb"
    source: str = "data/source_lmdb"
    neighbours: str = "data/neighbors_lmdb"


@dataclass(frozen=True)
class Task:
    """What the data layers and the classifiers need. Sizes in pixels, mean in B, G, R."""

    target_classes: int
    source_classes: int
    batch_size: int  # target and source together
    test_batch_size: int
    k0: int  # nearest neighbours in use per target image of level 1
    crop: int
    train_resize: dict[str, Any]  # {"resize": 256} or {"resize_shorter": [256, 480]}
    test_resize: dict[str, Any]
    mirror: bool
    mean: tuple[float, float, float] = (104, 117, 123)
    seed: int = 1
    paths: DataPaths = DataPaths()

    @property
    def half(self) -> int:
        """Target images in a batch."""
        return self.batch_size // 2


def joint_train_val(name: str, header: str, trunk: Trunk, task: Task) -> str:
    """The joint net: both tasks in TRAIN, the target's accuracy in TEST."""
    target, source = f"{trunk.top}_target", f"{trunk.top}_source"
    tail: list[Item] = [
        "The two tasks part here.",
        L.only_in("TRAIN", L.slice_batch("slice", trunk.top, [target, source])),
        L.only_in("TEST", L.slice_batch("slice", trunk.top, [target])),
        L.classifier("fc_target", target, task.target_classes),
        L.only_in("TRAIN", L.classifier("fc_source", source, task.source_classes)),
        "loss = 0.5 * target_loss + 0.5 * source_loss; the other two are only shown.",
        L.only_in("TRAIN", joint_loss()),
        *target_test_layers("fc_target", task.target_classes),
        L.only_in("TEST", L.softmax_loss("target_loss", "fc_target", "target_label")),
    ]
    data = [joint_data(task), target_data("TEST", task)]
    comment = (
        f"TRAIN: {task.half} target images, then {task.half} source images. TEST: target images."
    )
    return net_text(name, header, [comment, *data, *trunk.items, *tail])


def target_only_train_val(name: str, header: str, trunk: Trunk, task: Task) -> str:
    """The baseline: the same trunk on the target alone, with as many target images an iteration."""
    tail: list[Item] = [
        "One task.",
        L.classifier("fc_target", trunk.top, task.target_classes),
        L.softmax_loss("target_loss", "fc_target", "target_label"),
        *target_test_layers("fc_target", task.target_classes),
    ]
    data = [target_data("TRAIN", task), target_data("TEST", task)]
    comment = f"TRAIN: {task.half} target images, as many as in the joint net's batch."
    return net_text(name, header, [comment, *data, *trunk.items, *tail])


def joint_data(task: Task) -> Message:
    """TRAIN's data: the target half, then for each of its images one of the image's neighbours."""
    params = {
        "target": task.paths.target,
        "source": task.paths.source,
        "neighbours": task.paths.neighbours,
        "batch_size": task.batch_size,
        "k0": task.k0,
        "min_source_per_class": 0,
        **_class_limit(task),
        **task.train_resize,
        "crop": task.crop,
        "mirror": task.mirror,
        "mean": list(task.mean),
        "seed": task.seed,
    }
    tops = ["data", "target_label", "source_label"]
    return L.only_in("TRAIN", L.python_layer("data", "JointDataLayer", params, tops))


def _class_limit(task: Task) -> dict[str, int]:
    """The key for the images of one target class in a batch, if the layer's default is too few.

    As few as can fill a batch: with three classes, a third of its target images each.
    """
    least = -(-task.half // task.target_classes)
    return {"max_per_class": least} if least > JOINT_DATA_SPEC["max_per_class"].default else {}


def target_data(phase: str, task: Task) -> Message:
    """Target images and labels: shuffled, cropped at random in TRAIN; in order, centred in TEST."""
    train = phase == "TRAIN"
    params: dict[str, Any] = {
        "target": task.paths.target if train else task.paths.target_test,
        "batch_size": task.half if train else task.test_batch_size,
        **(task.train_resize if train else task.test_resize),
        "crop": task.crop,
    }
    if train:
        params["mirror"] = task.mirror
    params["mean"] = list(task.mean)
    if train:
        params["seed"] = task.seed
    tops = ["data", "target_label"]
    return L.only_in(phase, L.python_layer("data", "TargetDataLayer", params, tops))


def joint_loss() -> Message:
    """The weighted sum of both softmax losses; the tasks' own losses are tops of weight 0."""
    return L.python_layer(
        "loss",
        "MultiTaskLossLayer",
        {"weights": [0.5, 0.5]},
        tops=["loss", "target_loss", "source_loss"],
        bottoms=["fc_target", "target_label", "fc_source", "source_label"],
        loss_weights=[1, 0, 0],
    )


def target_test_layers(scores: str, classes: int) -> list[Message]:
    """TEST's accuracies of the target's `scores`: top-1, and top-5 of more than five `classes`."""
    names = {"accuracy": 1, "accuracy_top5": 5}
    return [
        L.only_in("TEST", L.accuracy(name, scores, "target_label", top_k))
        for name, top_k in names.items()
        if top_k < classes
    ]
