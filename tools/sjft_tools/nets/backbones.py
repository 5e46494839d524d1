"""The backbones by name: their trunks, and the schedule that suits their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable

from sjft.errors import InputError
from sjft_tools.nets import postact_resnet, preact_resnet, squeezenet, vgg16
from sjft_tools.nets.trunk import Trunk


@dataclass(frozen=True)
class Backbone:
    """A net up to its classifier.

    `frozen` makes the trunk whose BatchNorm keeps the stored statistics in TRAIN, too; None for a
    net without BatchNorm.
    """

    title: str
    trunk: Callable[[], Trunk]
    frozen: Callable[[], Trunk] | None
    base_lr: float
    weight_decay: float


def _resnet(title: str, trunk: Callable[[Any], Trunk], net: Any) -> Backbone:
    return Backbone(
        title,
        lambda: trunk(net),
        lambda: trunk(replace(net, frozen=True)),
        base_lr=0.01,
        weight_decay=0.0001,
    )


def _he(depth: int, net: postact_resnet.PostactResNet) -> Backbone:
    return _resnet(f"He et al.'s ResNet-{depth}", postact_resnet.trunk, net)


#: The method's own net: pre-activation ResNet-152.
DEFAULT = "preact_resnet152"

BACKBONES = {
    DEFAULT: _resnet(
        "the pre-activation ResNet-152", preact_resnet.trunk, preact_resnet.RESNET_152
    ),
    "resnet50": _he(50, postact_resnet.RESNET_50),
    "resnet101": _he(101, postact_resnet.RESNET_101),
    "resnet152": _he(152, postact_resnet.RESNET_152),
    "vgg16": Backbone("VGG-16", vgg16.trunk, None, base_lr=0.001, weight_decay=0.0005),
    "squeezenet": Backbone(
        "SqueezeNet 1.0", squeezenet.trunk, None, base_lr=0.001, weight_decay=0.0002
    ),
}


def make_trunk(name: str, frozen: bool) -> Trunk:
    """The trunk of backbone `name`; raises InputError if `frozen` and it has no BatchNorm."""
    backbone = BACKBONES[name]
    if not frozen:
        return backbone.trunk()
    if backbone.frozen is None:
        raise InputError(f"{name} has no BatchNorm whose statistics could be frozen")
    return backbone.frozen()
