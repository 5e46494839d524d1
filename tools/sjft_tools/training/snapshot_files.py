"""The two files of a snapshot, .caffemodel and .solverstate: what they hold, and if it is complete.

Caffe writes them in place and does not always notice a full disk, and protobuf takes some files
that were cut short for whole ones. Field numbers are those of caffe.proto.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from sjft_tools.training.wire_format import (
    VARINT,
    Field,
    WireError,
    bytes_field,
    fields,
    read_bytes,
    read_varint,
)

#: NetParameter, LayerParameter, V1LayerParameter, V0LayerParameter
_LAYER, _V1_LAYER = 100, 2
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_V1_NAME, _V1_BLOBS, _V1_V0_LAYER = 4, 6, 1
_V0_NAME, _V0_BLOBS = 1, 50
#: BlobProto
_DATA, _DOUBLE_DATA = 5, 8
#: SolverState
_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4

_PIECE = 1 << 20  # bytes copied at once

#: Numbers in each blob of a layer.
Sizes = tuple[int, ...]


class IncompleteError(ValueError):
    """A file of a snapshot that is missing, cut short, or of another kind."""


class Model(NamedTuple):
    """The layers of a .caffemodel, in order: names, and how many numbers each blob has."""

    layers: list[tuple[str, Sizes]]


class State(NamedTuple):
    """A .solverstate: iteration, path of its model, and how many numbers each history blob has."""

    iteration: int
    learned_net: str
    history: Sizes


def read_model(path: str) -> Model:
    """Return what the .caffemodel `path` holds. Raises IncompleteError."""
    layers = []
    with _opened(path) as file:
        for field in _whole(file, path):
            if field.number == _LAYER:
                layers.append(_layer(file, field, _LAYER_NAME, _LAYER_BLOBS))
            elif field.number == _V1_LAYER:
                layers.append(_old_layer(file, field))
    if not layers:
        raise IncompleteError(f"{path} has no layers")
    return Model(layers)


def read_state(path: str) -> State:
    """Return what the .solverstate `path` holds. Raises IncompleteError."""
    iteration = model = None
    is_whole = False
    history = []
    with _opened(path) as file:
        for field in _whole(file, path):
            if field.number == _ITER and field.wire_type == VARINT:
                iteration = read_varint(file, field)
            elif field.number == _LEARNED_NET:
                model = os.fsdecode(read_bytes(file, field))
            elif field.number == _HISTORY:
                history.append(_numbers(file, field))
            elif field.number == _CURRENT_STEP:
                is_whole = True  # Caffe always writes it, and last
    if iteration is None or model is None or not is_whole:
        raise IncompleteError(f"{path} is cut short")
    return State(iteration, model, tuple(history))


def copy_state(source: str, target: str, learned_net: str) -> None:
    """Copy a .solverstate, all fields byte for byte but the path of its model."""
    with _opened(source) as file, open(target, "wb") as copy:
        for field in _whole(file, source):
            if field.number == _LEARNED_NET:
                copy.write(bytes_field(_LEARNED_NET, os.fsencode(learned_net)))
                continue
            file.seek(field.start)
            _copy_bytes(file, copy, field.end - field.start)


def _copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    while count:
        piece = source.read(min(count, _PIECE))
        target.write(piece)
        count -= len(piece)


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise IncompleteError(f"{path} cannot be read ({error.strerror})") from None


def _whole(file: BinaryIO, path: str) -> list[Field]:
    """Return the fields of a whole file."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise IncompleteError(f"{path} is empty")
    try:
        return list(fields(file, 0, size))
    except WireError:
        raise IncompleteError(f"{path} is cut short, or not a file of Caffe's") from None


def _layer(
    file: BinaryIO, layer: Field, name_field: int, blobs_field: int
) -> tuple[str, tuple[int, ...]]:
    name, sizes = "", []
    for field in _within(file, layer):
        if field.number == name_field:
            name = os.fsdecode(read_bytes(file, field))
        elif field.number == blobs_field:
            sizes.append(_numbers(file, field))
    return name, tuple(sizes)


def _old_layer(file: BinaryIO, layer: Field) -> tuple[str, tuple[int, ...]]:
    """Read a layer in one of the two formats of before 2015."""
    for field in _within(file, layer):
        if field.number == _V1_V0_LAYER:
            return _layer(file, field, _V0_NAME, _V0_BLOBS)
    return _layer(file, layer, _V1_NAME, _V1_BLOBS)


def _numbers(file: BinaryIO, blob: Field) -> int:
    """Return how many numbers a BlobProto has; they are packed."""
    width = {_DATA: 4, _DOUBLE_DATA: 8}
    found = (field for field in _within(file, blob) if field.number in width)
    return sum((field.end - field.value) // width[field.number] for field in found)


def _within(file: BinaryIO, message: Field) -> list[Field]:
    try:
        return list(fields(file, message.value, message.end))
    except WireError:
        raise IncompleteError(f"{file.name} is not a file of Caffe's") from None
