"""What each layer of a net has to do at least: arithmetic and bytes, by its blobs' shapes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

_FLOAT = 4


class Cost(NamedTuple):
    """Floating-point operations, and bytes that must be read or written once."""

    flops: float
    bytes: float

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Return the least time: whichever of the two takes longer."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


def costs(net: Any) -> dict[str, dict[str, Cost]]:
    """Return layer -> {"forward", "backward"} -> cost, for a Caffe net.

    Forward: bottoms and weights are read, tops written. Backward: the tops' gradients, and what is
    needed of bottoms and weights, are read, the gradients of bottoms and weights written. A
    convolution or inner product multiplies and adds each output's inputs; backward it does so once
    for the weights and, but for the first layer, once for the bottom. Other layers' arithmetic is
    not counted: bytes bound them.
    """
    found = {}
    for index, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        bottoms = [net._blobs[i].data.shape for i in net._bottom_ids(index)]
        tops = [net._blobs[i].data.shape for i in net._top_ids(index)]
        weights = [blob.data.shape for blob in layer.blobs]
        moved = _FLOAT * (_count(bottoms) + _count(tops) + _count(weights))
        flops = 0.0
        passes = 2
        if layer.type in ("Convolution", "InnerProduct"):
            flops = 2.0 * _count(tops) * math.prod(weights[0][1:])
            passes = 1 if name == "conv1" else 2
        backward = moved + _FLOAT * (_count(bottoms) * (passes - 1) + _count(weights))
        found[name] = {
            "forward": Cost(flops, moved),
            "backward": Cost(passes * flops, backward),
        }
    return found


def _count(shapes: list[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)
