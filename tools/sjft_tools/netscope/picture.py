"""A picture of a net: boxes with types, sizes and the shapes that Caffe gives, drawn offline."""

from __future__ import annotations

import math
import os
from typing import Any

from sjft.errors import InputError
from sjft_tools.caffemodel import Shape, times
from sjft_tools.figures import PDF_LETTERS, literal, new_figure
from sjft_tools.netscope.boxes import Box, boxes, fold
from sjft_tools.netscope.layers import ShownLayer

_WIDTH, _HEIGHT = 2.5, 0.66  # of a box, inches
_STEP = 0.95  # from row to row
_LANE = 2.75  # from lane to lane
_GAP = 0.9  # between columns, for the edges that go on there and for those that skip rows

_COLOURS = {
    "convolution": "#cfe2f3",
    "innerproduct": "#d9d2e9",
    "pooling": "#d9ead3",
    "eltwise": "#fff2cc",
    "concat": "#fff2cc",
    "input": "#eeeeee",
    "crop": "#fce5cd",
    "loss": "#f4cccc",
    "softmax": "#f4cccc",
}


def draw(path: str, title: str, layers: list[ShownLayer], shapes: dict[str, Shape]) -> None:
    """Draw `layers` as the file `path` (.svg, .png, .pdf), with `shapes` of the blobs by name.

    Raises InputError without matplotlib.
    """
    result = boxes(layers)
    rows = max(box.row for box in result) + 1
    starts = fold(result, max(12, math.ceil(math.sqrt(rows * 5))))
    lefts, width = _columns(result, len(starts))
    ends = [*starts[1:], rows]
    height = _STEP * (max(end - start for start, end in zip(starts, ends)) + 1)
    figure = new_figure(round(100 * width), round(100 * (height + 0.5)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(-height, 0.5))
    axes.axis("off")
    axes.text(_GAP, 0.2, literal(title), fontsize=14, weight="bold")
    places = [
        (lefts[box.column] + _LANE * box.lane, -_STEP * (box.row - starts[box.column] + 0.5))
        for box in result
    ]
    for i, box in enumerate(result):
        for j in box.before:
            _edge(axes, places[j], places[i], result[j], box)
    for box, place in zip(result, places):
        _box(axes, box, place, shapes)
    import matplotlib

    with matplotlib.rc_context(PDF_LETTERS):
        figure.savefig(path, dpi=80)


def check_picture(path: str) -> None:
    """Raise InputError without matplotlib, or if it does not know the ending of `path`."""
    kinds = new_figure(1, 1).canvas.get_supported_filetypes()
    if os.path.splitext(path)[1][1:].lower() not in kinds:
        raise InputError(f"{path} cannot be drawn: expected a name that ends in .svg, .png or .pdf")


def _columns(result: list[Box], count: int) -> tuple[list[float], float]:
    """The left edge of each column's first lane, and the width of them all."""
    lefts, x = [], _GAP
    for column in range(count):
        lefts.append(x)
        lanes = 1 + max(box.lane for box in result if box.column == column)
        x += _LANE * lanes + _GAP
    return lefts, x


def _box(axes: Any, box: Box, place: tuple[float, float], shapes: dict[str, Shape]) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    kind = box.layer.type.lower()
    colour = next((c for word, c in _COLOURS.items() if word in kind), "#ffffff")
    axes.add_patch(
        FancyBboxPatch(
            (x, y - _HEIGHT / 2),
            _WIDTH,
            _HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour,
            edgecolor="#555555",
            linewidth=0.8,
        )
    )
    shape = "; ".join(
        times(shapes[top]).replace(" x ", " × ") for top in box.layer.tops if top in shapes
    )
    types = " + ".join(layer.type for layer in box.in_place)
    lines = (
        (0.2, box.layer.name, {"weight": "bold", "fontsize": 8}),
        (0.05, _what(box.layer), {"fontsize": 7}),
        (-0.09, f"then {types}" if types else "", {"fontsize": 6, "color": "#555555"}),
        (-0.23, shape, {"fontsize": 8, "color": "#0b5394"}),
    )
    for dy, text, style in lines:
        axes.text(x + _WIDTH / 2, y + dy, literal(text), ha="center", va="center", **style)


def _what(layer: ShownLayer) -> str:
    """A layer's type, with its kernel and stride."""
    for name in ("convolution_param", "pooling_param"):
        params = layer.params.get(name)
        if not isinstance(params, dict):
            continue
        if params.get("global_pooling"):
            return f"{layer.type}, {str(params.get('pool', 'max')).upper()}, whole map"
        parts = [layer.type]
        if name == "pooling_param":
            parts.append(str(params.get("pool", "max")).upper())
        kernel = params.get("kernel_size")
        if isinstance(kernel, float):
            parts.append(f"{kernel:g} × {kernel:g}")
        if params.get("stride", 1) != 1 and isinstance(params["stride"], float):
            parts.append(f"stride {params['stride']:g}")
        return ", ".join(parts)
    return layer.type


def _edge(
    axes: Any, start: tuple[float, float], end: tuple[float, float], source: Box, target: Box
) -> None:
    """An arrow from the box at `start` to that at `end`: straight, around, or to another column."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    bottom = (start[0] + _WIDTH / 2, start[1] - _HEIGHT / 2)
    top = (end[0] + _WIDTH / 2, end[1] + _HEIGHT / 2)
    codes = [Path.MOVETO, Path.LINETO]
    points = [bottom, top]
    if source.column != target.column:
        # Down, over into the gap before the target's column, up along it, and in from above.
        gap = end[0] - _LANE * target.lane - 0.45 - 0.12 * (target.row - source.row > 1)
        points = [bottom, (bottom[0], bottom[1] - 0.12), (gap, bottom[1] - 0.12)]
        points += [(gap, top[1] + 0.14), (top[0], top[1] + 0.14), top]
        codes = [Path.MOVETO] + [Path.LINETO] * 5
    elif target.row - source.row > 1:
        left = min(start[0], end[0]) - 0.1
        bulge = left - 0.55
        points = [(start[0], start[1]), (bulge, start[1]), (bulge, end[1]), (end[0], end[1])]
        codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    axes.add_patch(
        FancyArrowPatch(
            path=Path(points, codes),
            arrowstyle="-|>",
            mutation_scale=8,
            linewidth=0.9,
            color="#444444",
            shrinkA=0,
            shrinkB=0,
        )
    )
