"""What data layers hand on: the shapes of their tops, known without any data."""

from __future__ import annotations

from typing import Any

from sjft.errors import InputError
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft_tools.caffemodel import Shape
from sjft_tools.net_files import sjft_layer

JOINT_DATA, TARGET_DATA = "JointDataLayer", "TargetDataLayer"

#: Stock data layers -> the field of their parameters.
_STOCK = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "WindowData": "window_data_param",
    "HDF5Data": "hdf5_data_param",
}


def top_shapes(layer: Any, train: bool, given: dict[str, Shape]) -> list[Shape]:
    """The shapes of the tops of a LayerParameter without bottoms.

    `given`: shapes that the user gave, by the blobs' names; they come before what the layer says.
    Raises InputError for a top whose shape is neither given nor known.
    """
    known = _known(layer, train)
    shapes = []
    for i, top in enumerate(layer.top):
        if top in given:
            shapes.append(given[top])
        elif i < len(known):
            shapes.append(known[i])
        else:
            raise InputError(
                f"the shape of '{top}' cannot be told from the layer '{layer.name}' of type "
                f"{layer.type}: give it, as in --input {top}=10,3,224,224"
            )
    return shapes


def _known(layer: Any, train: bool) -> list[Shape]:
    kind = sjft_layer(layer)
    if kind == JOINT_DATA:
        joint = parse_joint_data(layer.python_param.param_str)
        half = (joint.batch_size // 2,)
        return [_images(joint.batch_size, joint.geometry.crop), half, half, half]
    if kind == TARGET_DATA:
        target = parse_target_data(layer.python_param.param_str, train)
        return [_images(target.batch_size, target.geometry.crop), (target.batch_size,)]
    if layer.type == "Input":
        shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
        return shapes * len(layer.top) if len(shapes) == 1 else shapes
    if layer.type == "DummyData":
        shapes = [tuple(shape.dim) for shape in layer.dummy_data_param.shape]
        return shapes * len(layer.top) if len(shapes) == 1 else shapes
    if layer.type == "MemoryData":
        memory = layer.memory_data_param
        batch = memory.batch_size
        return [(batch, memory.channels, memory.height, memory.width), (batch,)]
    crop = layer.transform_param.crop_size or layer.window_data_param.crop_size
    if layer.type in _STOCK and crop:
        return _stock(layer, crop)
    return []


def _stock(layer: Any, crop: int) -> list[Shape]:
    params = getattr(layer, _STOCK[layer.type])
    grey = layer.transform_param.force_gray or not getattr(params, "is_color", True)
    return [_images(params.batch_size, crop, 1 if grey else 3), (params.batch_size,)]


def _images(count: int, side: int, channels: int = 3) -> Shape:
    return (count, channels, side, side)
