"""The data layers of a net: parameters, LMDBs, how these fit each other, the first batch."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

import numpy as np

from sjft.batches import Batches, JointBatches, TargetBatches
from sjft.errors import did_you_mean
from sjft.layer_params import (
    JointDataParams,
    TargetDataParams,
    parse_joint_data,
    parse_multi_task_loss,
    parse_target_data,
)
from sjft_tools.checks.data_bases import DataBases, Labels, image_labels
from sjft_tools.checks.report import CheckFailed, Report
from sjft_tools.net_files import sjft_layer
from sjft_tools.solver_files import SolverNet

Made = TypeVar("Made", bound=Batches)

LMDB_BACKEND = 1  # caffe.proto's DataParameter.LMDB

_PARAMS_REMEDY = "correct the layer's param_str; the layer's class in sjft/layers.py lists its keys"
_FIT_REMEDY = (
    "correct the layer's param_str, or make the data bases anew: 'sjft convert', then 'sjft "
    "retrieve'"
)


def place(layer: Any, net: SolverNet) -> str:
    """Return how lines name `layer`."""
    return f"layer '{layer.name}' of {net.name}"


def check_data_layers(report: Report, net: SolverNet, bases: DataBases) -> dict[str, Labels]:
    """Check every data layer of `net`; return what is known of the labels in its blobs, by blob."""
    labels: dict[str, Labels] = {}
    for layer in net.layers:
        kind = sjft_layer(layer)
        if kind:
            labels.update(_sjft(report, net, layer, kind, bases))
        elif layer.type == "Data":
            backend = layer.data_param.backend
            found = bases.native(layer.data_param.source, backend == LMDB_BACKEND)
            if found is not None and len(layer.top) > 1:
                labels[layer.top[1]] = found
    return labels


def _parsed(kind: str, layer: Any, net: SolverNet) -> tuple[Any, str]:
    text = layer.python_param.param_str
    if kind == "JointDataLayer":
        if not net.train:
            raise CheckFailed(
                "JointDataLayer serves the TRAIN phase only",
                "add include { phase: TRAIN }, and a TargetDataLayer for the TEST phase",
            )
        return parse_joint_data(text), "JointDataLayer, param_str is valid"
    if kind == "TargetDataLayer":
        return parse_target_data(text, net.train), "TargetDataLayer, param_str is valid"
    if kind == "MultiTaskLossLayer":
        return parse_multi_task_loss(text), "MultiTaskLossLayer, param_str is valid"
    choices = ("JointDataLayer", "TargetDataLayer", "MultiTaskLossLayer")
    hint = did_you_mean(kind, choices)
    raise CheckFailed(f"sjft.layers has no layer '{kind}'{hint}", f"use {', '.join(choices)}")


def _sjft(
    report: Report, net: SolverNet, layer: Any, kind: str, bases: DataBases
) -> dict[str, Labels]:
    name = place(layer, net)
    params = report.check(name, lambda: _parsed(kind, layer, net), _PARAMS_REMEDY)
    if isinstance(params, JointDataParams):
        return _joint(report, name, layer, params, bases)
    if isinstance(params, TargetDataParams):
        return _target(report, name, layer, params, bases)
    return {}


def _joint(
    report: Report, name: str, layer: Any, params: JointDataParams, bases: DataBases
) -> dict[str, Labels]:
    targets = [bases.images(path) for path in params.target]
    source = bases.images(params.source)
    neighbours = bases.neighbours(params.neighbours)
    target = targets[0]
    if target is None or None in (*targets, source, neighbours):
        report.skip(f"fit in {name}", "needs all its LMDBs")
        return {}
    batches = _batches(report, name, lambda: JointBatches(params))
    if batches is None:
        return {}
    bases.note_target(target)
    known = [
        image_labels(target, "target labels")._replace(half=0),
        Labels(batches.source_classes, f"renumbered source labels of {params.source}", 1),
    ]
    return dict(zip(layer.top[1:3], known))


def _target(
    report: Report, name: str, layer: Any, params: TargetDataParams, bases: DataBases
) -> dict[str, Labels]:
    target = bases.images(params.target)
    if target is None:
        report.skip(f"fit in {name}", "needs its LMDB")
        return {}
    bases.note_target(target)
    _batches(report, name, lambda: TargetBatches(params))
    return dict(zip(layer.top[1:2], [image_labels(target, "target labels")]))


def _batches(report: Report, name: str, make: Callable[[], Made]) -> Made | None:
    """Make a data layer's batches, and the first of them, which decodes its images."""

    def fit() -> tuple[Made, str]:
        made = make()
        return made, made.summary()

    batches = report.check(f"fit in {name}", fit, _FIT_REMEDY)
    if batches is None:
        return None

    def fill() -> tuple[None, str]:
        out = {top: np.zeros(shape, np.float32) for top, shape in batches.tops.items()}
        batches.fill(0, out)
        low, high = float(out["data"].min()), float(out["data"].max())
        return None, f"shape {out['data'].shape}, values {low:g} to {high:g}"

    report.check(
        f"first batch in {name}",
        fill,
        "leave the image out ('sjft convert --on-bad skip' does), or correct resize and crop",
    )
    return batches
