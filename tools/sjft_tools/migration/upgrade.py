"""A net of the authors' fork as one of stock layers and sjft's: same weights, same results.

What stands for what: the joint data layers: JointDataLayer; SplitData: Slice; MergeData: Concat;
Residual: Eltwise, whose two tops become one blob, read by whoever read either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sjft.errors import InputError
from sjft_tools.migration.fork import DEFAULTS, fork_params
from sjft_tools.migration.joint_data import JOINT_DATA, Where, joint_data
from sjft_tools.net_files import as_fields
from sjft_tools.nets.text import Message, Word

RETRIEVAL = ("FeatureStatistics", "RefinedHistFeature", "NormalKnnMatch")


class Upgraded(NamedTuple):
    """The net's layers, and what was changed, one line each."""

    layers: list[Message]
    notes: list[str]


def upgrade(net: Any, where: Where) -> Upgraded:
    """Replace the fork's layers of the NetParameter `net`. Raises InputError for what cannot be."""
    layers = [as_fields(layer) for layer in net.layer]
    notes: list[str] = []
    for layer in layers:
        layer.setdefault("name", "")
        if layer.get("type") in RETRIEVAL:
            raise InputError(
                f"the layer '{layer['name']}' of type {layer['type']} belongs to retrieval, which "
                f"no net does here"
            )
    layers = _with_joint_data(layers, where, notes)
    layers = _without_residuals(layers, notes)
    layers = [_stock(layer, notes) for layer in layers]
    for layer in layers:
        unknown = sorted(set(layer) & set(DEFAULTS))
        if unknown:
            raise InputError(
                f"the layer '{layer['name']}' of type {layer['type']} has {unknown[0]}, which is "
                f"of another of the fork's layers: expected it there alone"
            )
    return Upgraded(layers, notes)


def _phase(layer: Message) -> str:
    """TRAIN, TEST, or "" for both; other rules are none of the fork's."""
    include = layer.get("include", [])
    return str(include[0].get("phase", "")) if len(include) == 1 else ""


def _with_joint_data(layers: list[Message], where: Where, notes: list[str]) -> list[Message]:
    """Put a JointDataLayer in place of each joint data layer and the SplitData of its labels."""
    result: list[Message] = []
    dropped: list[Message] = []
    for layer in layers:
        if layer in dropped:
            continue
        if layer.get("type") not in JOINT_DATA:
            result.append(layer)
            continue
        tops = list(layer.get("top", []))
        if len(tops) != 2:
            raise InputError(
                f"the layer '{layer['name']}' has {len(tops)} tops, expected data and labels"
            )
        data, label = tops
        readers = [
            other
            for other in layers
            if label in other.get("bottom", []) and _phase(other) != "TEST"
        ]
        splits = [other for other in readers if other.get("type") == "SplitData"]
        labels = [f"{label}_target", f"{label}_source"]
        if splits:
            half = layer.get("image_data_param", {}).get("batch_size", 1) // 2
            labels = _parted_labels(splits[0], half)
            dropped.append(splits[0])
            notes.append(
                f"SplitData '{splits[0]['name']}' is gone: the data layer parts the labels"
            )
        ours, more = joint_data(layer, [data, *labels], where)
        notes.append(f"{layer['type']} '{layer['name']}' became JointDataLayer")
        notes += [f"  {note}" for note in more]
        result.append(ours)
        if len(readers) > len(splits[:1]):
            result.append(
                {
                    "name": label,
                    "type": "Concat",
                    "bottom": labels,
                    "top": label,
                    "include": ours["include"],
                    "concat_param": {"axis": 0},
                }
            )
            notes.append(f"Concat '{label}' joins the labels again for those who read them whole")
    return result


def _parted_labels(split: Message, half: int) -> list[str]:
    """The blobs of the target's and the source's labels, which a SplitData parts at `half`."""
    labels = list(split.get("top", []))
    if len(labels) != 2:
        raise InputError(
            f"the layer '{split['name']}' splits the labels into {len(labels)}, expected two: the "
            f"target's and the source's"
        )
    number = fork_params(split, "split_data_param")["split_num"]
    if number != half:
        raise InputError(
            f"the layer '{split['name']}' splits the labels after {number}, expected half of the "
            f"batch, {half}"
        )
    return labels


def _without_residuals(layers: list[Message], notes: list[str]) -> list[Message]:
    """Put an Eltwise in place of each Residual."""
    result: list[Message] = []
    rest = list(layers)
    count = 0
    while rest:
        layer = rest.pop(0)
        if layer.get("type") != "Residual":
            result.append(layer)
            continue
        count += 1
        bottoms, tops = list(layer.get("bottom", [])), list(layer.get("top", []))
        if sorted((len(bottoms), len(tops))) not in ([1, 2], [2, 2]):
            raise InputError(
                f"the Residual '{layer['name']}' has {len(bottoms)} bottoms and {len(tops)} tops, "
                f"expected two of either"
            )
        # An Eltwise cannot write over what it reads, and what is written over later is gone then.
        free = [top for top in tops if top not in bottoms]
        kept = free if len(tops) == 1 else [top for top in free if not _is_written(top, rest)]
        blob = kept[0] if kept else f"{layer['name']}_sum"
        if len(bottoms) == 2:
            head = {key: value for key, value in layer.items() if key not in ("type", "top")}
            result.append(
                {
                    "name": head.pop("name"),
                    "type": "Eltwise",
                    "bottom": head.pop("bottom"),
                    "top": blob,
                    **head,
                    "eltwise_param": {"operation": Word("SUM")},
                }
            )
        else:
            blob = bottoms[0]
            if _is_written(blob, rest):
                raise InputError(
                    f"the Residual '{layer['name']}' hands on '{blob}', which is written over "
                    f"later: expected that only of what it hands on"
                )
        rest = _reading(rest, [top for top in tops if top != blob], blob)
    if count:
        notes.append(f"{count} Residual became Eltwise SUM, their two tops one blob")
    return result


def _is_written(blob: str, layers: list[Message]) -> bool:
    return any(blob in _list(layer.get("top", [])) for layer in layers)


def _reading(layers: list[Message], names: list[str], blob: str) -> list[Message]:
    """`layers` reading `blob` in place of each of `names`, until a layer writes that name."""
    pending = set(names)
    result = []
    for layer in layers:
        bottoms = [blob if name in pending else name for name in _list(layer.get("bottom", []))]
        result.append({**layer, "bottom": bottoms} if "bottom" in layer else layer)
        pending -= set(_list(layer.get("top", [])))
    return result


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _stock(layer: Message, notes: list[str]) -> Message:
    """SplitData and MergeData as stock layers; any other layer as it is."""
    kind = layer.get("type")
    if kind == "SplitData":
        number = fork_params(layer, "split_data_param")["split_num"]
        notes.append(f"SplitData '{layer['name']}' became Slice")
        kept = {key: value for key, value in layer.items() if key != "split_data_param"}
        return {**kept, "type": "Slice", "slice_param": {"axis": 0, "slice_point": number}}
    if kind == "MergeData":
        notes.append(f"MergeData '{layer['name']}' became Concat")
        return {**layer, "type": "Concat", "concat_param": {"axis": 0}}
    return layer
