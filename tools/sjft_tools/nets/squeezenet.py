"""SqueezeNet 1.0 (Iandola et al. 2016), up to its last fire module.

A fire module squeezes its input into few channels by a 1x1 convolution and expands these by a 1x1
and a 3x3 convolution side by side. The names are those of the published Deep Compression
caffemodel, so that its weights load by name; the original classifies by a convolution before the
last pooling, which a classifier behind the pooling stands for here.
"""

from __future__ import annotations

from sjft_tools.nets import layers as L
from sjft_tools.nets.text import Item, Message
from sjft_tools.nets.trunk import Trunk

# module -> channels squeezed to, channels of each expansion
FIRES = {
    2: (16, 64),
    3: (16, 64),
    4: (32, 128),
    5: (32, 128),
    6: (48, 192),
    7: (48, 192),
    8: (64, 256),
    9: (64, 256),
}
POOLED = (4, 8)  # modules with a pooling behind them
FEATURE_SCALE = 0.04  # brings the pooled features of photographs to about 1
LAST_MAP = 13  # height and width of the last map for 224 x 224 images
FEATURES = 2 * FIRES[9][1]


def trunk() -> Trunk:
    """All layers from `data`, of any size from 32 x 32 on, to `pool9`: N x 512 x 1 x 1."""
    shared, top = fire_layers()
    whole = L.global_average("pool9", top)
    window = L.pooling("pool9", top, "AVE", kernel=LAST_MAP, stride=1)
    items, dense = ([*shared, pool, *scaled_features()] for pool in (whole, window))
    return Trunk(items, top="pool9", features=FEATURES, dense=dense)


def scaled_features() -> list[Item]:
    """The factor behind the last pooling, and why it is there."""
    return [
        f"The published weights answer with features of some {1 / FEATURE_SCALE:.0f} in root mean "
        "square: fresh\nclassifiers on top would take steps so large that they wreck the trunk.",
        L.fixed_scale("scale9", "pool9", FEATURE_SCALE),
    ]


def fire_layers() -> tuple[list[Item], str]:
    """Stem and fire modules, and the name of the blob that comes out."""
    items: list[Item] = [
        "Stem.",
        L.convolution("conv1", "data", 96, kernel=7, stride=2, bias=True),
        L.relu("relu_conv1", "conv1"),
        L.pooling("pool1", "conv1", "MAX", kernel=3, stride=2),
        "Fire modules.",
    ]
    top = "pool1"
    for number, (squeezed, expanded) in FIRES.items():
        items += fire(f"fire{number}", top, squeezed, expanded)
        top = f"fire{number}/concat"
        if number in POOLED:
            items.append(L.pooling(f"pool{number}", top, "MAX", kernel=3, stride=2))
            top = f"pool{number}"
    return [*items, L.dropout("drop9", top, 0.5)], top


def fire(name: str, bottom: str, squeezed: int, expanded: int) -> list[Message]:
    """One fire module, from `bottom` to the blob `name`/concat."""
    squeeze, narrow, wide = (f"{name}/{part}" for part in ("conv1x1_1", "conv1x1_2", "conv3x3_2"))
    return [
        L.convolution(squeeze, bottom, squeezed, kernel=1, bias=True),
        L.relu(f"{name}/relu_conv1x1_1", squeeze),
        L.convolution(narrow, squeeze, expanded, kernel=1, bias=True),
        L.relu(f"{name}/relu_conv1x1_2", narrow),
        L.convolution(wide, squeeze, expanded, kernel=3, pad=1, bias=True),
        L.relu(f"{name}/relu_conv3x3_2", wide),
        L.concat(f"{name}/concat", [narrow, wide]),
    ]
