"""The view of a net: a net of one phase made of layers whose shapes netscope infers.

Data layers become Input layers, Python losses stock ones, and a Slice one Crop for each part: all
blobs keep their names and shapes, all weights theirs, and Caffe computes the same from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sjft.errors import InputError
from sjft.layer_params import parse_multi_task_loss
from sjft.losses import task_weights
from sjft_tools.caffemodel import Shape, times
from sjft_tools.net_files import Built, as_fields, build, input_shapes, layers_of, sjft_layer
from sjft_tools.nets import layers as L
from sjft_tools.nets.text import Message, message_lines, quoted
from sjft_tools.netscope.grammar import read_fields
from sjft_tools.netscope.inputs import top_shapes
from sjft_tools.netscope.layers import shown_layers
from sjft_tools.netscope.shapes import inferred_shapes

_LOSS = "MultiTaskLossLayer"
#: Layers without which a picture is the same: they say how well a net does, and hand on nothing.
_LEFT_OUT = ("Accuracy", "Silence")


@dataclass(frozen=True)
class View:
    """A view's `text`; `built` by Caffe; `changes`: what it has instead of what, one line each."""

    text: str
    built: Built
    changes: list[str]

    def unlike_caffe(self) -> list[str]:
        """Blobs that netscope would show without a shape, or with another than Caffe's."""
        fields = read_fields(self.text)
        inferred = inferred_shapes(fields)
        found = [] if inferred.stopped is None else [inferred.stopped.text]
        losses = {
            top for layer in shown_layers(fields) if "Loss" in layer.type for top in layer.tops
        }
        for name, shape in inferred.shapes.items():
            real = self.built.shapes[name]
            if shape != real and name not in losses:
                found.append(f"'{name}' is {times(real)} in Caffe, netscope shows {times(shape)}")
        return found


def view(net: Any, name: str, phase: str, given: dict[str, Shape]) -> View:
    """Return the view of the NetParameter `net` in `phase`, TRAIN or TEST.

    `name` stands for the net in messages; `given`: shapes of data layers' tops that the user gave.
    Raises InputError if a shape is needed and cannot be told, or given for a blob that is not
    there, or if Caffe cannot build the net.
    """
    unknown = sorted(set(given) - {top for layer in net.layer for top in layer.top})
    if unknown:
        raise InputError(f"no layer of {name} writes '{unknown[0]}', whose shape --input gives")
    layers, changes = _without_data(net, phase, given)
    more: list[str] = []
    if any(layer["type"] == "Slice" for layer in layers):
        plain = build(_text(net.name, layers), phase, name)
        layers, more = _without_slices(layers, plain.shapes)
    text = _text(net.name, [_for_netscope(layer) for layer in layers])
    return View(text, build(text, phase, name), changes + more)


def _without_data(net: Any, phase: str, given: dict[str, Shape]) -> tuple[list[Message], list[str]]:
    """The layers of `phase`, Input layers for data, and what was changed."""
    layers = [L.input_layer(blob, shape) for blob, shape in input_shapes(net).items()]
    changes: list[str] = []
    for layer in layers_of(net, phase):
        if layer.type in _LEFT_OUT:
            changes.append(f"{layer.type} '{layer.name}' is left out")
        elif not layer.bottom and layer.type != "Parameter":
            shapes = top_shapes(layer, phase == "TRAIN", given)
            layers += [L.input_layer(top, shape) for top, shape in zip(layer.top, shapes)]
            if layer.type != "Input":
                changes.append(
                    f"{_kind(layer)} '{layer.name}' became Input: {', '.join(layer.top)}"
                )
        elif sjft_layer(layer) == _LOSS:
            layers += _losses(layer)
            changes.append(f"{_LOSS} '{layer.name}' became one SoftmaxWithLoss per task")
        elif layer.type == "Python":
            layers += _foreign(layer, given)
            changes.append(f"Python '{layer.name}' became Input: {', '.join(layer.top)}")
        else:
            fields = as_fields(layer)
            kept = {k: v for k, v in fields.items() if k not in ("include", "exclude", "phase")}
            layers.append(L.without_training(kept))
    return layers, changes


def _kind(layer: Any) -> str:
    return layer.python_param.layer if layer.type == "Python" else layer.type


def _losses(layer: Any) -> list[Message]:
    """One SoftmaxWithLoss for each pair of bottoms of a MultiTaskLossLayer."""
    tasks = len(layer.bottom) // 2
    params = parse_multi_task_loss(layer.python_param.param_str)
    named = len(layer.top) > 1
    total, *own = [*layer.loss_weight, *[0.0] * (1 + tasks)][: 1 + tasks]
    losses = []
    for i, weight in enumerate(task_weights(params.weights, tasks)):
        name = layer.top[1 + i] if named else f"{layer.top[0]}_{i + 1}"
        loss = L.softmax_loss(name, layer.bottom[2 * i], layer.bottom[2 * i + 1])
        loss["loss_weight"] = total * weight + own[i]
        if params.ignore_label is not None:
            loss["loss_param"] = {"ignore_label": params.ignore_label}
        losses.append(loss)
    return losses


def _foreign(layer: Any, given: dict[str, Shape]) -> list[Message]:
    """Input layers for the tops of a Python layer that is not ours."""
    for top in layer.top:
        if top not in given:
            raise InputError(
                f"the layer '{layer.name}' runs Python code of the module "
                f"'{layer.python_param.module}': give the shape of its top, as in --input "
                f"{top}=10,3,224,224"
            )
    return [L.input_layer(top, given[top]) for top in layer.top]


def _without_slices(
    layers: list[Message], shapes: dict[str, Shape]
) -> tuple[list[Message], list[str]]:
    """`layers` with Crops in place of Slices."""
    result: list[Message] = []
    changes = []
    for layer in layers:
        if layer["type"] != "Slice":
            result.append(layer)
            continue
        result += _crops(layer, shapes)
        changes.append(f"Slice '{layer['name']}' became a Crop for each part")
    return result, changes


def _crops(layer: Message, shapes: dict[str, Shape]) -> list[Message]:
    """For each part of a Slice: an Input of the part's shape, and the Crop to it."""
    [bottom] = layer["bottom"]
    param = layer.get("slice_param", {})
    axis = int(param.get("slice_dim", param.get("axis", 1))) % len(shapes[bottom])
    sizes = [shapes[top][axis] for top in layer["top"]]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    crops = []
    for top, start in zip(layer["top"], starts):
        size = f"{top}_size"
        offsets = [start] + [0] * (len(shapes[bottom]) - axis - 1)
        crops.append(L.input_layer(size, shapes[top]))
        crops.append(
            {
                "name": top if len(layer["top"]) > 1 else layer["name"],
                "type": "Crop",
                "bottom": [bottom, size],
                "top": top,
                "crop_param": {"axis": axis, "offset": offsets},
            }
        )
    return crops


def _for_netscope(layer: Message) -> Message:
    """`layer` with what netscope would misread said otherwise."""
    if layer["type"] == "Input":
        # A shape of one number is none to netscope.
        dims = layer["input_param"]["shape"]["dim"]
        return L.input_layer(layer["name"], tuple(dims) if len(dims) > 1 else (*dims, 1))
    result = dict(layer)
    for message, field in (("pooling_param", "global_pooling"), ("transform_param", "force_gray")):
        if result.get(message, {}).get(field) is False:
            result[message] = {k: v for k, v in result[message].items() if k != field}
    return result


def _text(name: str, layers: list[Message]) -> str:
    lines = [f"name: {quoted(name or 'net')}"]
    for layer in layers:
        lines += message_lines("layer", layer)
    return "\n".join(lines) + "\n"
