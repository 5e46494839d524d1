"""A solver and its net with other data, another schedule and another place for snapshots."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import new_files_in
from sjft_tools.net_files import sjft_layer
from sjft_tools.pycaffe import caffe_messages
from sjft_tools.solver_files import read_message

SOLVER_FILE, NET_FILE, SNAPSHOTS = "solver.prototxt", "train_val.prototxt", "snapshots"

#: What of a data layer's param_str can be replaced: kind of layer -> option -> key.
JOINT = {
    "target": "target",
    "source": "source",
    "neighbours": "neighbours",
    "levels": "levels",
    "k0": "k0",
    "seed": "seed",
}
TARGET_TRAIN = {"target": "target", "seed": "seed"}
TARGET_TEST = {"target_test": "target"}

#: What of a solver can be replaced besides the name of its snapshots: option -> field.
SCHEDULE = {
    "base_lr": "base_lr",
    "stepsize": "stepsize",
    "max_iter": "max_iter",
    "snapshot": "snapshot",
    "test_interval": "test_interval",
    "seed": "random_seed",
}

_TRAIN, _TEST = 0, 1  # caffe.proto's phases


def adapt(solver_path: str, folder: str, changes: Mapping[str, Any], force: bool) -> None:
    """Write solver.prototxt, train_val.prototxt and the folder snapshots/ into `folder`.

    `changes`: option -> value, of the options that JOINT, TARGET_TRAIN, TARGET_TEST and SCHEDULE
    name, and "snapshot_name"; what is not in it stays as it is. With another test set, test_iter
    becomes the number of batches that hold its images. Raises InputError if a file cannot be read,
    if nothing in the net takes one of the changes, or if `folder` holds a solver and `force` is not
    set.
    """
    solver, net = changed(solver_path, changes)
    net_path = solver.net
    if "target_test" in changes:
        _cover_test_set(solver, net, net_path, changes["target_test"])
    solver.net = os.path.join(folder, NET_FILE)
    name = changes.get("snapshot_name") or os.path.basename(solver.snapshot_prefix) or "net"
    solver.snapshot_prefix = os.path.join(folder, SNAPSHOTS, name)
    os.makedirs(os.path.join(folder, SNAPSHOTS), exist_ok=True)
    header = f"# {{}} {solver_path} with other values, written by `sjft adapt`.\n"
    with new_files_in(folder, SOLVER_FILE, force) as partial:
        for file, of, message in (
            (NET_FILE, "The net of", net),
            (SOLVER_FILE, "The solver", solver),
        ):
            text = header.format(of) + text_format.MessageToString(message)
            Path(partial, file).write_text(text, encoding="utf-8")


def changed(solver_path: str, changes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return SolverParameter and NetParameter of a solver file, with `changes` but for their files.

    Reads no data. Raises InputError as adapt does.
    """
    solver = _read_solver(solver_path)
    net = read_message(solver.net, caffe_messages().NetParameter())
    taken = _change_layers(net, solver.net, changes)
    taken |= _change_schedule(solver, solver_path, changes) | {"snapshot_name"}
    for option in changes:
        if option not in taken:
            raise InputError(
                f"no layer of {solver.net} takes '{option.replace('_', '-')}': expected a net with "
                f"sjft's data layers"
            )
    return solver, net


def net_of(solver_path: str) -> str:
    """Return the path of the net that the solver names. Raises InputError as adapt does."""
    return str(_read_solver(solver_path).net)


def _read_solver(path: str) -> Any:
    solver = read_message(path, caffe_messages().SolverParameter())
    if not solver.HasField("net"):
        raise InputError(f"{path} names no 'net': expected a solver with one net file")
    return solver


def _kind(layer: Any) -> dict[str, str]:
    """Return what can be replaced in a layer: one of the tables above, or nothing."""
    kind = sjft_layer(layer)
    if kind == "JointDataLayer":
        return JOINT
    if kind != "TargetDataLayer":
        return {}
    tests_alone = _names_phase(layer.include, _TEST) or _names_phase(layer.exclude, _TRAIN)
    return TARGET_TEST if tests_alone else TARGET_TRAIN


def _names_phase(rules: Any, phase: int) -> bool:
    return any(rule.HasField("phase") and rule.phase == phase for rule in rules)


def _change_layers(net: Any, path: str, changes: Mapping[str, Any]) -> set[str]:
    """Change the data layers' parameters; return the options that some layer took."""
    taken: set[str] = set()
    for layer in net.layer:
        keys = {option: key for option, key in _kind(layer).items() if option in changes}
        if not keys:
            continue
        params = _params(layer, path)
        params.update({key: changes[option] for option, key in keys.items()})
        layer.python_param.param_str = json.dumps(params)
        taken |= set(keys)
    return taken


def _params(layer: Any, path: str) -> dict[str, Any]:
    try:
        params = json.loads(layer.python_param.param_str)
    except ValueError as error:
        raise InputError(
            f"the param_str of layer '{layer.name}' in {path} is not JSON: {error}"
        ) from None
    if not isinstance(params, dict):
        raise InputError(f"the param_str of layer '{layer.name}' in {path} is not a JSON object")
    return params


def _change_schedule(solver: Any, path: str, changes: Mapping[str, Any]) -> set[str]:
    if "stepsize" in changes and solver.lr_policy != "step":
        raise InputError(
            f"the lr_policy of {path} is '{solver.lr_policy}': expected 'step' for another stepsize"
        )
    taken = {option for option in SCHEDULE if option in changes}
    for option in taken:
        setattr(solver, SCHEDULE[option], changes[option])
    return taken


def _cover_test_set(solver: Any, net: Any, path: str, target_test: str) -> None:
    """Set test_iter to the number of batches that hold the images of the LMDB `target_test`."""
    layer = next(layer for layer in net.layer if _kind(layer) is TARGET_TEST)
    batch_size = _params(layer, path).get("batch_size")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"layer '{layer.name}' of {path} has no batch_size: expected a number")
    count = ImageLmdb(target_test, "target").count
    solver.ClearField("test_iter")
    solver.test_iter.append(-(-count // batch_size))
