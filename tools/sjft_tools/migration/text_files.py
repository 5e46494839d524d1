"""The text files of the authors' fork: image lists, neighbours, sampling levels, bins.

Source: the readers in refined_boosted_joint_training_data_layer.cpp and
refined_hist_feature_layer.cpp of the fork. Fields are separated by spaces or tabs; empty lines do
not count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np

from sjft.errors import InputError

_INTEGER = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_LARGEST_LABEL = 2**31 - 1

#: Channels of the fork's banks: AlexNet's conv1 and conv2, all its five, of which the fork's
#: statistics net writes the bins, and the Gabor bank.
ALEXNET, ALEXNET_ALL, GABOR = 96 + 256, 96 + 256 + 384 + 384 + 256, 48


def _lines(path: str) -> Iterator[tuple[str, list[str]]]:
    """The fields of each line that has any, and the line's name in messages."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, line in enumerate(stream, 1):
                fields = line.split()
                if fields:
                    yield f"line {number} of {path}", fields
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _integer(text: str, what: str, where: str, end: int = _LARGEST_LABEL + 1) -> int:
    value = int(text) if _INTEGER.fullmatch(text) else -1
    if not 0 <= value < end:
        raise InputError(
            f"{where} has the {what} {text[:40]!r}: expected an integer from 0 to {end - 1}"
        )
    return value


def _filled(found: Collection[int], count: int, path: str, what: str) -> None:
    missing = next((i for i in range(count) if i not in found), None)
    if missing is not None:
        raise InputError(f"{path} has no line for {what} {missing}: expected all of {count}")


def read_source_list(path: str) -> tuple[list[str], list[int]]:
    """Paths and labels of ``path global_label domain_label`` lines, in order.

    Raises InputError unless the global labels are the running numbers from 0: neighbours refer to
    images by them.
    """
    paths: list[str] = []
    labels: list[int] = []
    for where, fields in _lines(path):
        if len(fields) != 3:
            raise InputError(
                f"{where} has {len(fields)} fields: expected a path without spaces, the image's "
                f"running number and its class"
            )
        number = _integer(fields[1], "number", where)
        if number != len(paths):
            raise InputError(
                f"{where} has the number {number}, expected {len(paths)}: the images must be "
                f"numbered from 0, one line each"
            )
        paths.append(fields[0])
        labels.append(_integer(fields[2], "class", where))
    if not paths:
        raise InputError(f"{path} is empty: expected 'path number class' lines")
    return paths, labels


def read_target_list(path: str) -> tuple[list[list[str]], list[int]]:
    """Stored versions and label of each image of ``path global_label domain_label index`` lines.

    Lines of the same index, in any order, are versions of one image. Raises InputError if an index
    is missing or its lines have different classes.
    """
    versions: dict[int, list[str]] = {}
    labels: dict[int, int] = {}
    for where, fields in _lines(path):
        if len(fields) != 4:
            raise InputError(
                f"{where} has {len(fields)} fields: expected a path without spaces, a running "
                f"number, the class and the image's index"
            )
        index = _integer(fields[3], "index", where)
        label = _integer(fields[2], "class", where)
        if labels.setdefault(index, label) != label:
            raise InputError(
                f"{where} has the class {label} for the image {index}, which has "
                f"{labels[index]} before"
            )
        versions.setdefault(index, []).append(fields[0])
    if not versions:
        raise InputError(f"{path} is empty: expected 'path number class index' lines")
    count = max(versions) + 1
    _filled(versions, count, path, "the image")
    return [versions[i] for i in range(count)], [labels[i] for i in range(count)]


def _is_left_out(text: str, targets: int, leave_out: bool) -> bool:
    return leave_out and bool(_INTEGER.fullmatch(text)) and int(text) >= targets


def read_neighbours(
    path: str, targets: int, sources: int, leave_out: bool = False
) -> tuple[np.ndarray, int]:
    """Neighbours of ``target nn_1 ... nn_K last_column`` lines, and how many lines were left out.

    The neighbours are targets x K int64, nearest first; the last column does not count. With
    `leave_out`, lines of targets from `targets` on are left out. Raises InputError unless there is
    one line for each target, all of the same length, with source numbers below `sources`.
    """
    found: set[int] = set()
    width, left_out = 0, 0
    indices = np.empty((targets, 0), np.int64)
    for where, fields in _lines(path):
        if not width:
            width = len(fields)
            if width < 3:
                raise InputError(f"{where} has {width} fields: expected target, neighbours, last")
            indices = np.empty((targets, width - 2), np.int64)
        if len(fields) != width:
            raise InputError(f"{where} has {len(fields)} fields, expected {width} as the first")
        if _is_left_out(fields[0], targets, leave_out):
            left_out += 1
            continue
        target = _integer(fields[0], "target", where, targets)
        if target in found:
            raise InputError(f"{where} is a second one for the target {target}")
        found.add(target)
        indices[target] = [_integer(text, "neighbour", where, sources) for text in fields[1:-1]]
    _filled(found, targets, path, "the target")
    return indices, left_out


def read_levels(
    path: str, targets: int, highest: int, leave_out: bool = False
) -> tuple[np.ndarray, int, int]:
    """Levels of ``target level`` lines, how many were cut to `highest`, how many lines left out.

    The levels are int64 (targets,). With `leave_out`, lines of targets from `targets` on are left
    out. Raises InputError if a target has no level or level 0, with which the fork never shows it.
    """
    found: set[int] = set()
    levels = np.zeros(targets, np.int64)
    left_out = 0
    for where, fields in _lines(path):
        if len(fields) != 2:
            raise InputError(f"{where} has {len(fields)} fields: expected a target and its level")
        if _is_left_out(fields[0], targets, leave_out):
            left_out += 1
            continue
        target = _integer(fields[0], "target", where, targets)
        found.add(target)
        levels[target] = _integer(fields[1], "level", where)
        if not levels[target]:
            raise InputError(
                f"{where} has the level 0, with which an image is never shown: expected 1 to "
                f"{highest}, or a target LMDB without the image"
            )
    _filled(found, targets, path, "the target")
    return np.minimum(levels, highest), int((levels > highest).sum()), left_out


def read_bins(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper edges, minima and maxima of ``min max edge_1 share_1 ... edge_B share_B`` lines.

    Channels x B float64, float32 (channels,) twice. The last edge is made the maximum, as the
    fork's printing of six digits and its early end of a channel may leave it short. Raises
    InputError for lines of different lengths and for edges that do not ascend from the minimum.
    """
    edges: list[np.ndarray] = []
    limits: list[tuple[float, float]] = []
    for where, fields in _lines(path):
        try:
            values = np.array([float(text) for text in fields])
        except ValueError:
            values = np.array([np.nan])
        if not np.isfinite(values).all():
            raise InputError(f"{where} does not hold numbers alone: expected min, max, bins")
        if len(values) < 6 or len(values) % 2:
            raise InputError(
                f"{where} has {len(values)} numbers: expected min, max and two for each of two or "
                f"more bins"
            )
        if edges and len(edges[0]) != len(values) // 2 - 1:
            raise InputError(f"{where} has {len(values) // 2 - 1} bins, others {len(edges[0])}")
        low, high = np.float32(values[0]), np.float32(values[1])
        upper = np.append(values[2:-2:2], float(high))
        upper = np.clip(upper, float(low), float(high))
        if low >= high or (np.diff(values[2::2]) < 0).any():
            raise InputError(f"{where} has bins that do not ascend from its min to its max")
        edges.append(upper)
        limits.append((float(low), float(high)))
    if not edges:
        raise InputError(f"{path} is empty: expected a line of min, max and bins per channel")
    minimum, maximum = np.array(limits, np.float32).T
    return np.array(edges), minimum.copy(), maximum.copy()
