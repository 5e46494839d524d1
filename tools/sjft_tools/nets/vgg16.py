"""VGG-16 (Simonyan & Zisserman 2015), up to its second fully connected layer.

The names are those of the published caffemodel, so that its weights load by name.
"""

from __future__ import annotations

from sjft_tools.nets import layers as L
from sjft_tools.nets.dense import inner_product_as_convolution
from sjft_tools.nets.text import Item, Message
from sjft_tools.nets.trunk import Trunk

# stage -> 3x3 convolutions, channels of each
STAGES = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}
LAST_MAP = 7  # height and width of the last map for 224 x 224 images
FEATURES = 4096


def trunk() -> Trunk:
    """All layers from `data`, 224 x 224, to `fc7`: N x 4096."""
    shared: list[Item] = []
    top = "data"
    for stage, (count, channels) in STAGES.items():
        shared.append(f"Stage {stage}.")
        for number in range(1, count + 1):
            name = f"conv{stage}_{number}"
            shared += [
                L.convolution(name, top, channels, kernel=3, pad=1, bias=True),
                L.relu(f"relu{stage}_{number}", name),
            ]
            top = name
        shared.append(L.pooling(f"pool{stage}", top, "MAX", kernel=2, stride=2))
        top = f"pool{stage}"
    channels = STAGES[5][1]
    items = [
        *shared,
        "Fully connected.",
        L.inner_product("fc6", "pool5", FEATURES),
        *rectified("6", "fc6"),
        L.inner_product("fc7", "fc6", FEATURES),
        *rectified("7", "fc7"),
    ]
    dense = [
        *shared,
        *inner_product_as_convolution("fc6", "pool5", "fc6_map", FEATURES, channels, LAST_MAP),
        *rectified("6", "fc6_map"),
        *inner_product_as_convolution("fc7", "fc6_map", "fc7_map", FEATURES, FEATURES, 1),
        *rectified("7", "fc7_map"),
    ]
    return Trunk(items, top="fc7", features=FEATURES, dense=dense, dense_top="fc7_map")


def rectified(number: str, blob: str) -> list[Message]:
    """relu and dropout, in place."""
    return [L.relu(f"relu{number}", blob), L.dropout(f"drop{number}", blob, 0.5)]
