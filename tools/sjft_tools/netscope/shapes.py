"""The shapes of blobs as netscope infers them, up to the layer at which it gives up.

Source: src/caffe/layers.coffee of netscope. Types that it does not know keep the shape of the
bottom that stands where the top does, right or wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from sjft_tools.caffemodel import Shape
from sjft_tools.netscope.grammar import Field, Problem
from sjft_tools.netscope.layers import ShownLayer, shown_layers


class NoShape(ValueError):
    """Why netscope finds no shape for a layer's tops."""


class Inferred(NamedTuple):
    """`shapes` by the blobs' names; `stopped`: the layer where inference ended, or None."""

    shapes: dict[str, Shape]
    stopped: Problem | None


def inferred_shapes(fields: list[Field]) -> Inferred:
    """Infer the shapes of a net's blobs from its `fields`."""
    shapes = _input_fields(fields)
    for layer in shown_layers(fields):
        try:
            bottoms = [_known(shapes, bottom) for bottom in layer.bottoms]
            tops = _rule(layer.type)(layer, bottoms)
            if len(tops) < len(layer.tops):
                raise NoShape(f"top '{layer.tops[len(tops)]}' is one too many for its type")
        except NoShape as error:
            text = f"shapes end at '{layer.name}' ({layer.type}): {error}"
            return Inferred(shapes, Problem(layer.line, text))
        shapes.update(zip(layer.tops, tops))
    return Inferred(shapes, None)


def _known(shapes: dict[str, Shape], blob: str) -> Shape:
    if blob not in shapes:
        raise NoShape(f"the shape of '{blob}' is unknown")
    return shapes[blob]


def _input_fields(fields: list[Field]) -> dict[str, Shape]:
    """Shapes from the net's own `input` and `input_dim`, four numbers each."""
    names = [str(field.value) for field in fields if field.name == "input"]
    dims = [int(field.value) for field in fields if field.name == "input_dim"]  # type: ignore[arg-type]
    if len(dims) != 4 * len(names):
        return {}
    return {name: tuple(dims[4 * i : 4 * i + 4]) for i, name in enumerate(names)}


def _rule(kind: str) -> Callable[[ShownLayer, list[Shape]], list[Shape]]:
    lower = kind.lower()
    if "input" in lower or "data" in lower:
        return _data
    if "loss" in lower:
        return _loss
    return _RULES.get(lower.replace("_", ""), _unchanged)


def _unchanged(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    if len(bottoms) < len(layer.tops):
        raise NoShape("its type is unknown, and it has more tops than bottoms")
    return bottoms[: len(layer.tops)]


def _loss(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    return [(1,)]


def _data(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    if bottoms:
        raise NoShape("a data layer must have no bottoms")
    dims = _get(_get(layer.params, "input_param"), "shape").get("dim")
    transform = _get(layer.params, "transform_param")
    memory = _get(layer.params, "memory_data_param")
    if isinstance(dims, list):
        shape = _integers(dims)
    elif dims is not None:
        raise NoShape("a shape of a single number cannot be read")
    elif "crop_size" in transform:
        crop = int(transform["crop_size"])
        shape = (1, 1 if transform.get("force_gray") else 3, crop, crop)
    elif "height" in memory and "width" in memory:
        names = (("batch_size", 1), ("channels", 3), ("height", 0), ("width", 0))
        shape = tuple(int(memory.get(name, default)) for name, default in names)
    else:
        raise NoShape("it has neither input_param nor crop_size")
    return [shape, shape[:1]]


def _convolution(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    return _windows(
        layer, bottoms, lambda size, extent, pad, stride: (size + 2 * pad - extent) // stride + 1
    )


def _deconvolution(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    return _windows(
        layer, bottoms, lambda size, extent, pad, stride: stride * (size - 1) + extent - 2 * pad
    )


def _windows(
    layer: ShownLayer, bottoms: list[Shape], side: Callable[[int, int, int, int], int]
) -> list[Shape]:
    """Convolution and its reverse: `side` of (input, extent of the kernel, pad, stride)."""
    params = _get(layer.params, "convolution_param")
    if "num_output" not in params:
        raise NoShape("it has no num_output")
    if len(bottoms) != len(layer.tops):
        raise NoShape("it must have as many tops as bottoms")
    axis = int(params.get("axis", 1))
    tops = []
    for shape in bottoms:
        sizes = shape[axis + 1 :]
        kernel, pad, stride = _sliding(params, len(sizes))
        dilation = _each(params.get("dilation", 1), len(sizes))
        extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        sides = tuple(map(side, sizes, extents, pad, stride))
        tops.append((*shape[:axis], int(params["num_output"]), *sides))
    return tops


def _pooling(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    params = _get(layer.params, "pooling_param")
    if len(bottoms) != 1:
        raise NoShape("it must have one bottom")
    shape = bottoms[0]
    if params.get("global_pooling"):
        params = {**params, "kernel_size": [float(size) for size in shape[-2:]]}
    kernel, pad, stride = _sliding(params, 2)
    sides = []
    for size, extent, margin, step in zip(shape[-2:], kernel, pad, stride):
        side = math.ceil((size + 2 * margin - extent) / step) + 1
        sides.append(side - 1 if (side - 1) * step >= size + margin else side)
    top = (*shape[:-2], *sides)
    return [top, top]


def _inner_product(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    params = _get(layer.params, "inner_product_param")
    if "num_output" not in params or len(bottoms) != 1:
        raise NoShape("it must have num_output and one bottom")
    return [(*bottoms[0][: int(params.get("axis", 1))], int(params["num_output"]))]


def _concat(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    params = _get(layer.params, "concat_param")
    axis = int(params.get("concat_dim", params.get("axis", 1)))
    if not bottoms or not 0 <= axis < len(bottoms[0]):
        raise NoShape(f"it needs bottoms with an axis {axis}")
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in bottoms}
    if len(others) > 1:
        raise NoShape("its bottoms differ in other axes than the one that is joined")
    joined = sum(shape[axis] for shape in bottoms)
    return [(*bottoms[0][:axis], joined, *bottoms[0][axis + 1 :])]


def _eltwise(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    if len(set(bottoms)) != 1:
        raise NoShape("its bottoms have different shapes")
    return bottoms[:1]


def _crop(layer: ShownLayer, bottoms: list[Shape]) -> list[Shape]:
    if len(bottoms) != 2:
        raise NoShape("it must have two bottoms")
    axis = int(_get(layer.params, "crop_param").get("axis", 0))
    return [(*bottoms[0][:axis], *bottoms[1][axis:])]


_RULES = {
    "convolution": _convolution,
    "deconvolution": _deconvolution,
    "pooling": _pooling,
    "innerproduct": _inner_product,
    "concat": _concat,
    "eltwise": _eltwise,
    "crop": _crop,
}


def _get(params: dict[str, Any], name: str) -> dict[str, Any]:
    value = params.get(name)
    return value if isinstance(value, dict) else {}


def _integers(values: list[Any]) -> Shape:
    return tuple(int(value) for value in values)


def _each(value: Any, count: int) -> Shape:
    """`value` for each of `count` axes: one for all, or one each."""
    if not isinstance(value, list):
        return (int(value),) * count
    if len(value) != count:
        raise NoShape(f"a parameter has {len(value)} values for {count} axes")
    return _integers(value)


def _sliding(params: dict[str, Any], count: int) -> tuple[Shape, Shape, Shape]:
    """Kernel, pad and stride along each of `count` axes."""
    kernel = params.get("kernel_size", [params.get("kernel_h"), params.get("kernel_w")])
    if isinstance(kernel, list) and None in kernel:
        raise NoShape("it has no kernel size")
    found = [_each(kernel, count)]
    for name, default in (("pad", 0), ("stride", 1)):
        value = params.get(name)
        if value is None:
            value = default
            if f"{name}_h" in params or f"{name}_w" in params:
                value = [params.get(f"{name}_h", default), params.get(f"{name}_w", default)]
        found.append(_each(value, count))
    return found[0], found[1], found[2]
