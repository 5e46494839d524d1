"""Weights files: what a .caffemodel holds, and whether it fits a net.

Caffe ends the process when a shape differs, and leaves a layer that finds no weights random without
a word: both are found here before.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from sjft.errors import InputError
from sjft.solver_state import HDF5_SIGNATURE
from sjft_tools.pycaffe import caffe_messages

Shape = tuple[int, ...]

_LISTED = 3


def read_caffemodel(path: str) -> Any:
    """Return the NetParameter in `path`; InputError if it is missing or not a .caffemodel."""
    model = caffe_messages().NetParameter()
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"the weights {path} cannot be read: {error.strerror}") from None
    try:
        model.ParseFromString(content)
    except DecodeError:
        model.Clear()
    # protobuf before 3.20 takes some foreign files for a message of which it knows no field
    if not model.layer and not model.layers:
        seen = f"its {len(content)} bytes are another format, or a download cut short"
        if content.lstrip()[:1] == b"<":
            seen = "it begins as a web page does, perhaps one to sign in or to confirm a download"
        elif content.startswith(HDF5_SIGNATURE):
            seen = "it is an HDF5 file, as Caffe writes with snapshot_format: HDF5, not BINARYPROTO"
        raise InputError(f"{path} is not a .caffemodel file, expected layers with weights: {seen}")
    return model


def trained_blobs(model: Any) -> dict[str, list[Any]]:
    """Return the BlobProtos of every layer that has some, by the layer's name.

    Reads the `layers` of files older than Caffe's `layer` as well.
    """
    old = (layer.layer if layer.HasField("layer") else layer for layer in model.layers)
    return {layer.name: list(layer.blobs) for layer in (*old, *model.layer) if layer.blobs}


def drop_layers(model: Any, names: Collection[str]) -> None:
    """Remove the layers `names` from a NetParameter, of Caffe's format or an older one."""
    for i in reversed(range(len(model.layer))):
        if model.layer[i].name in names:
            del model.layer[i]
    for i in reversed(range(len(model.layers))):
        layer = model.layers[i]
        if (layer.layer if layer.HasField("layer") else layer).name in names:
            del model.layers[i]


def check_weights(
    wanted: dict[str, list[Shape]],
    blobs: dict[str, list[Any]],
    path: str,
    net: str,
    convolutions: Collection[str] = (),
) -> list[str]:
    """Raise InputError unless the weights `path` have every blob that the net file `net` wants.

    `wanted`: the shapes of each layer's blobs, by the layer's name; `blobs`: of trained_blobs.
    Layers of the weights that the net does not have do not matter. Returns those of the layers
    `convolutions` whose weights in `path` are an InnerProduct's: see roll_up.
    """
    unrolled = []
    missing = [name for name in wanted if name not in blobs]
    if missing:
        raise InputError(
            f"{path} has no weights for the layer{'s' if len(missing) > 1 else ''} "
            f"{listed(missing, _LISTED)} of {net}, which would stay random: expected weights that "
            f"were trained in this net"
        )
    for name, shapes in wanted.items():
        if len(shapes) != len(blobs[name]):
            raise InputError(
                f"the layer '{name}' has {len(blobs[name])} blobs in {path}, expected the "
                f"{len(shapes)} of {net}"
            )
        for shape, blob in zip(shapes, blobs[name]):
            if name in convolutions and _is_unrolled(shape, blob):
                unrolled.append(name)
            elif not fits(shape, blob):
                raise InputError(
                    f"the layer '{name}' has weights of {times(blob_shape(blob))} in {path}, "
                    f"expected {times(shape)} as in {net}"
                )
    return unrolled


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` of the names in quotes, and how many more there are."""
    more = len(names) - most
    quoted = ", ".join(f"'{name}'" for name in names[:most])
    return quoted + (f" and {more} more" if more > 0 else "")


def times(shape: Shape) -> str:
    """Return a shape in words: "96 x 3 x 11 x 11"."""
    return " x ".join(map(str, shape)) or "one number"


def _is_old(blob: Any) -> bool:
    """Whether a BlobProto states its shape as Caffe did before blobs had any number of axes."""
    return any(blob.HasField(field) for field in ("num", "channels", "height", "width"))


def blob_shape(blob: Any) -> Shape:
    """Return the shape that a BlobProto states, in Caffe's old way or its new one."""
    if _is_old(blob):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)


def fits(shape: Shape, blob: Any) -> bool:
    """Return whether Caffe copies a BlobProto into a blob of `shape`, as Blob::ShapeEquals does."""
    if _is_old(blob):
        return len(shape) <= 4 and (1,) * (4 - len(shape)) + shape == blob_shape(blob)
    return shape == blob_shape(blob)


def _is_unrolled(shape: Shape, blob: Any) -> bool:
    """Whether a BlobProto holds a convolution's weights of `shape` as an InnerProduct's: C x F."""
    found = blob_shape(blob)
    flat = (shape[0], math.prod(shape[1:]))
    return len(shape) == 4 and found != shape and found in (flat, (1, 1, *flat))


def roll_up(blob: Any, shape: Shape) -> None:
    """Make the weights of an InnerProduct over C x H x W inputs those of a convolution of `shape`.

    `blob`: a BlobProto with as many values as `shape`, outputs x C x H x W. The order of the values
    is the same in both.
    """
    for field in ("num", "channels", "height", "width"):
        blob.ClearField(field)
    blob.shape.dim[:] = shape
