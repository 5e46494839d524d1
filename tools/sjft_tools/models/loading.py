"""What ``caffe train -weights`` would make of a weights file in a net: by the layers' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sjft_tools.caffemodel import Shape, blob_shape, fits, times


class Loading(NamedTuple):
    """Layers' names: `taken` from the file, left `random`, `unused` of the file.

    `refused`: at these Caffe ends, with the reason.
    """

    taken: list[str]
    refused: dict[str, str]
    random: list[str]
    unused: list[str]


def loading(wanted: dict[str, list[Shape]], blobs: dict[str, list[Any]]) -> Loading:
    """Compare a net's weights with a file's.

    `wanted`: the shapes of each layer's blobs, by the layer's name; `blobs`: what trained_blobs
    found in the file.
    """
    result = Loading([], {}, [], [name for name in blobs if name not in wanted])
    for name, shapes in wanted.items():
        if name not in blobs:
            result.random.append(name)
            continue
        found = blobs[name]
        if len(found) != len(shapes):
            result.refused[name] = f"{len(found)} blobs in the file, {len(shapes)} in the net"
            continue
        differ = [
            f"{times(blob_shape(blob))} in the file, {times(shape)} in the net"
            for shape, blob in zip(shapes, found)
            if not fits(shape, blob)
        ]
        if differ:
            result.refused[name] = differ[0]
        else:
            result.taken.append(name)
    return result


def borrowers(layers: Iterable[Any]) -> set[str]:
    """Layers all of whose weights are another layer's before them, by ``param { name: ... }``."""
    owned: set[str] = set()
    found = set()
    for layer in layers:
        names = [param.name for param in layer.param]
        if names and all(name in owned for name in names):
            found.add(layer.name)
        owned.update(name for name in names if name)
    return found
