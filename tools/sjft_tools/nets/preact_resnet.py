"""Residual nets with identity mappings (He et al. 2016), named as the released weights are.

A unit is 1x1 -> bn -> scale -> relu -> 3x3 -> bn -> scale -> relu -> 1x1, added to its identity
path. The sum goes untouched to the next unit's identity path and, through its own bn, scale and
relu, into the next unit's first convolution. The first unit of a stage has no identity path: it
projects its activated input by a 1x1 convolution, `branch1`. Where a stage starts with stride 2,
the projection and the unit's first 1x1 have it, as in the authors' net.
"""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets import layers as L
from sjft_tools.nets.text import Item, Message
from sjft_tools.nets.trunk import Trunk

EXPANSION = 4  # a unit's output has this many times the channels of its bottleneck


@dataclass(frozen=True)
class Stem:
    """The first convolution, of stride 2."""

    channels: int
    kernel: int
    pad: int


@dataclass(frozen=True)
class PreactResNet:
    """What tells one net of the family from another; names count the stages from 2."""

    stem: Stem
    units: tuple[int, ...]  # units of each stage
    widths: tuple[int, ...]  # channels of each stage's bottleneck
    last_map: int  # height and width of the last map, which pool5 averages
    moving_average: float | None = None  # of BatchNorm; None: Caffe's default, 0.999
    frozen: bool = False  # whether BatchNorm keeps its stored statistics in TRAIN


RESNET_152 = PreactResNet(
    stem=Stem(channels=64, kernel=7, pad=3),
    units=(3, 8, 36, 3),
    widths=(64, 128, 256, 512),
    last_map=7,  # for 224 x 224 images
)


def unit_names(count: int) -> list[str]:
    """A stage's units: a, b, c; where there are more than three: a, b1, b2, ..."""
    if count <= 3:
        return ["a", "b", "c"][:count]
    return ["a", *(f"b{number}" for number in range(1, count))]


def trunk(net: PreactResNet) -> Trunk:
    """All layers from blob `data` up to the last pooling, `pool5`."""
    items, top = stem_layers(net), "pool1"
    for stage, (count, width) in enumerate(zip(net.units, net.widths), start=2):
        stride = 1 if stage == 2 else 2
        names = [f"{stage}{name}" for name in unit_names(count)]
        items.append(f"Stage {stage}: {count} units of {width * EXPANSION} channels.")
        identity = None
        for name in names:
            last = name == names[-1]
            items += unit_layers(net, name, top, identity, width, stride, last)
            identity = f"res{name}"
            top = identity if last else f"bn{name}"
            stride = 1
    items.append(L.pooling("pool5", top, "AVE", kernel=net.last_map, stride=1))
    return Trunk(items, top="pool5", features=net.widths[-1] * EXPANSION)


def stem_layers(net: PreactResNet) -> list[Item]:
    """conv1 - bn - scale - relu - pool1."""
    stem = net.stem
    return [
        "Stem.",
        L.convolution("conv1", "data", stem.channels, stem.kernel, stride=2, pad=stem.pad),
        L.batch_norm("bn_conv1", "conv1", "conv1", net.moving_average, net.frozen),
        L.scale("scale_conv1", "conv1"),
        L.relu("relu_conv1", "conv1"),
        # No padding: Caffe rounds a pooled map's size up, so 112 becomes 56 all the same.
        L.pooling("pool1", "conv1", "MAX", kernel=3, stride=2),
    ]


def unit_layers(
    net: PreactResNet,
    name: str,
    bottom: str,
    identity: str | None,
    width: int,
    stride: int,
    last: bool,
) -> list[Message]:
    """Unit `name` ("3b1"): from the activated blob `bottom` to the activated sum.

    `identity` is the previous unit's raw sum; None projects `bottom` instead. A stage's last sum
    has no identity path behind it, so it is activated in place: blobs res2c, res3b7, ... hold
    activated maps, as in the authors' net.
    """
    out = width * EXPANSION
    a, b, c = (f"{name}_branch2{letter}" for letter in "abc")
    layers = []
    if identity is None:
        identity = f"res{name}_branch1"
        layers.append(L.convolution(identity, bottom, out, kernel=1, stride=stride))
    layers += [
        L.convolution(f"res{a}", bottom, width, kernel=1, stride=stride),
        *activation(net, a, f"res{a}", f"res{a}"),
        L.convolution(f"res{b}", f"res{a}", width, kernel=3, pad=1),
        *activation(net, b, f"res{b}", f"res{b}"),
        L.convolution(f"res{c}", f"res{b}", out, kernel=1),
        L.eltwise_sum(f"res{name}", [identity, f"res{c}"]),
    ]
    return layers + activation(net, name, f"res{name}", f"res{name}" if last else f"bn{name}")


def activation(net: PreactResNet, name: str, bottom: str, top: str) -> list[Message]:
    """bn, scale and relu of blob `bottom` into `top`, which may be the same."""
    return [
        L.batch_norm(f"bn{name}", bottom, top, net.moving_average, net.frozen),
        L.scale(f"scale{name}", top),
        L.relu(f"relu{name}", top),
    ]
