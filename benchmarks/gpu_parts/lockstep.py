"""Two nets computed layer by layer, the second on the first one's values: each layer's own error.

Without that a layer's error would hold those of all layers before it, through a hundred
normalisations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

#: Numbers that are compared at a time: they stay near the core.
_PART = 1 << 13
#: Numbers that one thread compares.
_SHARE = 1 << 22


class Error(NamedTuple):
    """How far a result of one layer is from the first net's, by the L2 norm."""

    layer: str
    type: str
    what: str  # "forward", "backward" or "gradient", of a weight
    relative: float


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return |found - expected| / |expected|: 0 where both are 0, infinite if it is no number."""
    found, expected = found.ravel(), expected.ravel()
    starts = range(0, len(expected), _SHARE)
    with ThreadPoolExecutor() as threads:
        sums = threads.map(lambda start: _squares(found, expected, start), starts)
        difference, norm = np.sum([(0.0, 0.0), *sums], axis=0)
    if difference == 0:
        return 0.0
    return math.sqrt(difference / norm) if norm and math.isfinite(difference / norm) else math.inf


def _squares(found: np.ndarray, expected: np.ndarray, start: int) -> tuple[float, float]:
    """Return |found - expected| and |expected|, squared, of a share."""
    difference = norm = 0.0
    for begin in range(start, min(start + _SHARE, len(expected)), _PART):
        end = min(begin + _PART, start + _SHARE)
        part = expected[begin:end].astype(np.float64)
        apart = found[begin:end] - part
        difference += float(apart @ apart)
        norm += float(part @ part)
    return difference, norm


def forward(first: Any, second: Any, use: Callable[[int], None]) -> list[Error]:
    """Run both nets forward; `use(0)` and `use(1)` switch to where the first and second compute."""
    errors = []
    for index, layer in enumerate(first.layers):
        bottoms, tops = first._bottom_ids(index), first._top_ids(index)
        for blob in bottoms:
            second._blobs[blob].data[...] = first._blobs[blob].data
        _both(use, lambda net, i=index: net._forward(i, i), first, second)
        for blob in tops:
            error = relative_error(second._blobs[blob].data, first._blobs[blob].data)
            errors.append(Error(first._layer_names[index], layer.type, "forward", error))
    return errors


def backward(first: Any, second: Any, use: Callable[[int], None]) -> list[Error]:
    """Run both nets backward, after forward()."""
    for own, others in zip(first._blobs, second._blobs):
        others.data[...] = own.data
    errors = []
    for index in reversed(range(len(first.layers))):
        layer, name = first.layers[index], first._layer_names[index]
        for blob in first._top_ids(index):
            second._blobs[blob].diff[...] = first._blobs[blob].diff
        _both(use, lambda net, i=index: net._backward(i, i), first, second)
        for blob in first._bottom_ids(index):
            error = relative_error(second._blobs[blob].diff, first._blobs[blob].diff)
            errors.append(Error(name, layer.type, "backward", error))
        for own, others in zip(layer.blobs, second.layers[index].blobs):
            error = relative_error(others.diff, own.diff)
            errors.append(Error(name, layer.type, "gradient", error))
    return errors


def _both(use: Callable[[int], None], run: Callable[[Any], Any], first: Any, second: Any) -> None:
    for number, net in enumerate((first, second)):
        use(number)
        run(net)


def by_type(errors: list[Error]) -> list[list[Any]]:
    """Return rows: type of layer, its layers, and the median and greatest error of each `what`."""
    rows = []
    for kind in dict.fromkeys(error.type for error in errors):
        own = [error for error in errors if error.type == kind]
        row: list[Any] = [kind, len({error.layer for error in own})]
        for what in ("forward", "backward", "gradient"):
            values = [error.relative for error in own if error.what == what]
            row += [float(np.median(values)), max(values)] if values else ["", ""]
        rows.append(row)
    return rows
