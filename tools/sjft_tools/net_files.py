"""Nets as files: read as messages, written as text that netscope reads too, built by Caffe."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.caffemodel import Shape
from sjft_tools.json_file import read_json
from sjft_tools.nets.text import Message, Word
from sjft_tools.pycaffe import caffe_messages, import_caffe
from sjft_tools.solver_files import included_layers, read_message

#: In a process of its own, since Caffe ends the process where it cannot build a net.
_BUILD = """
import json, sys
import caffe
net = caffe.Net(sys.argv[1], int(sys.argv[2]))
shapes = {name: list(blob.data.shape) for name, blob in net.blobs.items()}
params = {name: [list(blob.data.shape) for blob in blobs] for name, blobs in net.params.items()}
with open(sys.argv[3], "w") as stream:
    json.dump([shapes, params], stream)
"""


def read_net(path: str, message: Any = None) -> Any:
    """Return the NetParameter in the text file `path`, parsed into `message` if that is given.

    Raises InputError, with the line, for anything that is not one, and for nets of Caffe's old
    formats, whose layers are in `layers`.
    """
    net = read_message(path, caffe_messages().NetParameter() if message is None else message)
    if net.layers:
        raise InputError(
            f"{path} is in Caffe's old format ('layers' instead of 'layer'): run "
            f"'upgrade_net_proto_text {path} NEW.prototxt', which comes with Caffe, and take that"
        )
    if not net.layer:
        raise InputError(f"{path} has no layers: expected a net's prototxt")
    return net


def layers_of(net: Any, phase: str) -> list[Any]:
    """The LayerParameters of the NetParameter `net` that are in it in TRAIN or TEST, no stages."""
    state = caffe_messages().NetState()
    state.MergeFrom(net.state)
    state.phase = {"TRAIN": 0, "TEST": 1}[phase]
    return included_layers(net, state)


def input_shapes(net: Any) -> dict[str, Shape]:
    """Shapes by name of the inputs that a NetParameter names itself, as before Input layers."""
    shapes = [tuple(shape.dim) for shape in net.input_shape]
    shapes += [tuple(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)]
    return dict(zip(net.input, shapes))


def sjft_layer(layer: Any) -> str:
    """The class of a LayerParameter of sjft.layers, "" for any other layer."""
    ours = layer.type == "Python" and layer.python_param.module == "sjft.layers"
    return str(layer.python_param.layer) if ours else ""


def as_fields(message: Any) -> Message:
    """A message of Caffe's as nets/text.py writes it: the fields that are set, in their order."""
    fields: Message = {}
    for field, value in message.ListFields():
        repeated = hasattr(value, "extend")
        values = [_plain(field, item) for item in (value if repeated else [value])]
        fields[field.name] = values if repeated else values[0]
    return fields


def _plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_fields(value)
    if field.enum_type is not None:
        return Word(field.enum_type.values_by_number[value].name)
    if field.cpp_type == field.CPPTYPE_FLOAT:
        # the shortest number that is the same float32
        number = float(str(np.float32(value)))
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    return value


class Built(NamedTuple):
    """What Caffe made of a net: the shapes of its blobs and of its layers' weights, by name."""

    shapes: dict[str, Shape]
    params: dict[str, list[Shape]]


def build(text: str, phase: str, what: str) -> Built:
    """Have Caffe build the net `text` in TRAIN or TEST, and return its shapes.

    Raises InputError, with Caffe's reason, if it cannot; `what` names the net in the message.
    """
    import_caffe()
    with tempfile.TemporaryDirectory() as folder:
        net, result = os.path.join(folder, "net.prototxt"), os.path.join(folder, "shapes.json")
        Path(net).write_text(text, encoding="utf-8")
        number = {"TRAIN": "0", "TEST": "1"}[phase]
        status, output = run_process([sys.executable, "-c", _BUILD, net, number, result])
        if status:
            raise InputError(f"Caffe cannot build {what}: {reason(status, output)}")
        shapes, params = read_json(result)
    return Built(
        {name: tuple(shape) for name, shape in shapes.items()},
        {name: [tuple(shape) for shape in blobs] for name, blobs in params.items()},
    )
