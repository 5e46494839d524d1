"""The residual nets that He et al. published in 2015, named as their caffemodels are.

A unit is 1x1 -> bn -> scale -> relu -> 3x3 -> bn -> scale -> relu -> 1x1 -> bn -> scale, added to
its identity path; the sum goes through a relu. The first unit of a stage projects its input by a
1x1 convolution with bn and scale, `branch1`; where a stage starts with stride 2, that and the
unit's first 1x1 have it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets import layers as L
from sjft_tools.nets.preact_resnet import EXPANSION, unit_names
from sjft_tools.nets.text import Item, Message
from sjft_tools.nets.trunk import Trunk

WIDTHS = (64, 128, 256, 512)  # channels of each stage's bottleneck
LAST_MAP = 7  # height and width of the last map for 224 x 224 images


@dataclass(frozen=True)
class PostactResNet:
    """What tells one published net from another."""

    units: tuple[int, ...]  # units of each stage
    letters: bool  # names of a stage's units: a, b, c, d, ... instead of a, b1, b2, ...
    stem_bias: bool  # whether conv1 has a bias
    frozen: bool = False  # whether BatchNorm keeps its stored statistics in TRAIN


RESNET_50 = PostactResNet(units=(3, 4, 6, 3), letters=True, stem_bias=True)
RESNET_101 = PostactResNet(units=(3, 4, 23, 3), letters=False, stem_bias=False)
RESNET_152 = PostactResNet(units=(3, 8, 36, 3), letters=False, stem_bias=False)


def trunk(net: PostactResNet) -> Trunk:
    """All layers from blob `data` up to the last pooling, `pool5`: N x 2048 x 1 x 1."""
    items: list[Item] = [
        "Stem.",
        L.convolution("conv1", "data", 64, kernel=7, stride=2, pad=3, bias=net.stem_bias),
        *normalisation(net, "_conv1", "conv1"),
        L.relu("conv1_relu", "conv1"),
        L.pooling("pool1", "conv1", "MAX", kernel=3, stride=2),
    ]
    top = "pool1"
    for stage, (count, width) in enumerate(zip(net.units, WIDTHS), start=2):
        items.append(f"Stage {stage}: {count} units of {width * EXPANSION} channels.")
        names = list("abcdefgh"[:count]) if net.letters else unit_names(count)
        for name in names:
            stride = 2 if stage > 2 and name == "a" else 1
            items += unit_layers(net, f"{stage}{name}", top, width, stride, project=name == "a")
            top = f"res{stage}{name}"
    items.append(L.pooling("pool5", top, "AVE", kernel=LAST_MAP, stride=1))
    return Trunk(items, top="pool5", features=WIDTHS[-1] * EXPANSION)


def unit_layers(
    net: PostactResNet, name: str, bottom: str, width: int, stride: int, project: bool
) -> list[Message]:
    """Unit `name` ("3b1"): from blob `bottom` to blob res`name`; `project` gives it a branch1."""
    out = width * EXPANSION
    a, b, c = (f"{name}_branch2{letter}" for letter in "abc")
    layers, identity = [], bottom
    if project:
        identity = f"res{name}_branch1"
        layers += [
            L.convolution(identity, bottom, out, kernel=1, stride=stride),
            *normalisation(net, f"{name}_branch1", identity),
        ]
    layers += [
        L.convolution(f"res{a}", bottom, width, kernel=1, stride=stride),
        *normalisation(net, a, f"res{a}"),
        L.relu(f"res{a}_relu", f"res{a}"),
        L.convolution(f"res{b}", f"res{a}", width, kernel=3, pad=1),
        *normalisation(net, b, f"res{b}"),
        L.relu(f"res{b}_relu", f"res{b}"),
        L.convolution(f"res{c}", f"res{b}", out, kernel=1),
        *normalisation(net, c, f"res{c}"),
        L.eltwise_sum(f"res{name}", [identity, f"res{c}"]),
        L.relu(f"res{name}_relu", f"res{name}"),
    ]
    return layers


def normalisation(net: PostactResNet, name: str, blob: str) -> list[Message]:
    """bn and scale of `blob`, in place."""
    return [
        L.batch_norm(f"bn{name}", blob, blob, frozen=net.frozen),
        L.scale(f"scale{name}", blob),
    ]
