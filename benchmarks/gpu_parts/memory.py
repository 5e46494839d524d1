"""The memory that training a net takes on a GPU, reckoned from its shapes, by what Caffe allocates.

    python benchmarks/gpu_parts/memory.py [BATCH ...]

prints it for the joint ResNet-152. Left out: the CUDA context, cuDNN's workspaces and handles.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import nets
from tables import markdown, table

from sjft_tools.pycaffe import import_caffe

_FLOAT = 4
# Values and gradients, and SGD's momentum.
_OF_A_WEIGHT = 3
_WITHOUT_GRADIENT = {"Input", "DummyData", "Data", "Python"}


def needed_bytes(net: Any) -> dict[str, int]:
    """Return "blobs", "layers" and "weights": the bytes that each take in training.

    Every blob has values, and gradients unless it comes from a data layer; the copies that a Split
    makes for several readers share the values. Layers keep: BatchNorm, normalised values and those
    of its working copy, and in place the gradients of the top as well; Scale in place, its bottom;
    pooling, the places of the maxima (reckoned for averages, too, of which there are few).
    """
    values: set[int] = set()
    gradients: set[int] = set()
    kept = 0
    for index, layer in enumerate(net.layers):
        bottoms, tops = list(net._bottom_ids(index)), list(net._top_ids(index))
        if layer.type != "Split":
            values.update(tops)
        if layer.type not in _WITHOUT_GRADIENT:
            gradients.update(tops)
        count = sum(_count(net, blob) for blob in tops)
        in_place = bottoms[:1] == tops[:1] and bool(tops)
        if layer.type == "BatchNorm":
            kept += count * (3 if in_place else 2)
        elif layer.type == "Pooling" or (layer.type == "Scale" and in_place):
            kept += count
    of_blobs = sum(_count(net, blob) for group in (values, gradients) for blob in group)
    weights = sum(math.prod(blob.data.shape) for layer in net.layers for blob in layer.blobs)
    return {
        "blobs": _FLOAT * of_blobs,
        "layers": _FLOAT * kept,
        "weights": _FLOAT * _OF_A_WEIGHT * weights,
    }


def _count(net: Any, blob: int) -> int:
    return net._blobs[blob].count


def main() -> None:
    caffe = import_caffe()
    joint = nets.NETS["resnet152"]
    rows = []
    for batch in map(int, sys.argv[1:] or ["18", "36", "72", "144"]):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.prototxt"
            file.write_text(nets.text(joint, nets.input_data(joint, batch)))
            found = needed_bytes(caffe.Net(str(file), caffe.TRAIN))
        parts = [found[name] / 2**30 for name in ("blobs", "layers", "weights")]
        rows.append([batch, *parts, sum(parts)])
    columns = ["batch", "blobs, GiB", "layers, GiB", "weights, GiB", "in all, GiB"]
    print(markdown([table("Joint ResNet-152", columns, rows)]))


if __name__ == "__main__":
    main()
