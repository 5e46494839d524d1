"""Reading a solver and its nets as ``caffe train`` does: text format, paths, phases and states."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import text_format

from sjft.errors import did_you_mean
from sjft_tools.checks.report import CheckFailed


class SolverNet(NamedTuple):
    """A net that a solver makes: its name in messages, and its LayerParameters in that state."""

    name: str
    train: bool
    layers: list[Any]


def read_message(path: str, message: Any) -> Any:
    """Parse the text-format file `path` into `message` and return it.

    Raises CheckFailed naming the line of an unknown field or of anything else that is not valid.
    """
    text = read_text(path)
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        line, column = error.GetLine() or 1, error.GetColumn() or 1
        problem = re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
        unknown = re.search(r'Message type "([\w.]+)" has no field named "(\w+)"', problem)
        remedy = f"correct line {line}"
        if unknown is not None:
            pool = message.DESCRIPTOR.file.pool
            fields = pool.FindMessageTypeByName(unknown.group(1)).fields_by_name
            problem += did_you_mean(unknown.group(2), fields)
            if message.DESCRIPTOR.name == "NetParameter":
                remedy += (
                    ", or take the field out if it is another Caffe's ('sjft upgrade-prototxt' "
                    "reads those of the authors' fork)"
                )
        raise CheckFailed(f"{path}, line {line}, column {column}: {problem}", remedy) from None


def read_text(path: str) -> str:
    """Return the text of a prototxt file. In comments, bytes that are not UTF-8 are replaced.

    Caffe passes over these whatever they are. Raises CheckFailed if it is not such a file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckFailed(f"{path} cannot be read: {error.strerror}", elsewhere(path)) from None
    if b"\0" in content:
        raise CheckFailed(f"{path} is not text", "name a .prototxt file")
    if content.startswith(codecs.BOM_UTF8):
        raise CheckFailed(
            f"{path} begins with a byte order mark, which Caffe does not read", "save it without"
        )
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            if b"#" not in line[: error.start]:
                raise CheckFailed(
                    f"{path}, line {number} is not UTF-8", "save it in that encoding"
                ) from None
    return content.decode("utf-8", "replace")


def elsewhere(path: str, seen_from: str = "") -> str:
    """Return the remedy for a missing `path`: the folder from which it would be found, if any.

    `seen_from`: a file near which it may be, as the solver that names it.
    """
    folder = Path(seen_from or ".").resolve()
    if not os.path.isabs(path):
        for parent in folder.parents:
            if (parent / path).exists() and parent != Path.cwd():
                return f"run this, and caffe, in the folder {parent}, from which the paths are seen"
    return "correct the path; paths are seen from the folder in which caffe is started"


def snapshot_prefix(solver: Any, path: str) -> str:
    """Return the snapshot_prefix of the solver in the file `path`, as Caffe completes it."""
    if not solver.HasField("snapshot_prefix"):
        return os.path.splitext(path)[0]
    prefix = str(solver.snapshot_prefix)
    if os.path.isdir(prefix):
        return os.path.join(prefix, os.path.splitext(os.path.basename(path))[0])
    return prefix


def solver_nets(solver: Any, path: str, net_type: Any) -> list[SolverNet]:
    """Return the train net and all test nets of the SolverParameter `solver` in the file `path`.

    `net_type` is NetParameter. Raises CheckFailed if a net cannot be read or the solver names none
    or too many.
    """
    fields = ("net", "net_param", "train_net", "train_net_param")
    named = [field for field in fields if solver.HasField(field)]
    if len(named) != 1:
        raise CheckFailed(
            f"the solver must name one train net, but {' and '.join(named) or 'none'} is given",
            f"give one of {', '.join(fields)}",
        )
    trains = _net(solver, named[0], path, net_type)
    nets = [_in_state(trains, "the train net", True, solver.train_state)]
    tests = list(solver.test_net_param)
    tests += [_read_net(file, path, net_type) for file in solver.test_net]
    generic = len(solver.test_iter) - len(tests)
    shared = [field for field in fields[:2] if solver.HasField(field)]
    if generic < 0 or (generic and not shared):
        raise CheckFailed(
            f"the solver has {len(solver.test_iter)} test_iter for {len(tests)} test nets",
            "give one test_iter for each test net",
        )
    if generic:
        tests += [_net(solver, shared[0], path, net_type)] * generic
    if solver.test_state and len(solver.test_state) != len(tests):
        raise CheckFailed(
            f"the solver has {len(solver.test_state)} test_state for {len(tests)} test nets",
            "give one test_state for each test net, or none",
        )
    if tests and solver.test_interval <= 0:
        raise CheckFailed("test_iter is given without test_interval", "add test_interval")
    for i, test in enumerate(tests):
        name = f"test net {i}" if len(tests) > 1 else "the test net"
        state = solver.test_state[i] if solver.test_state else None
        nets.append(_in_state(test, name, False, state))
    return nets


def _net(solver: Any, field: str, path: str, net_type: Any) -> Any:
    value = getattr(solver, field)
    return _read_net(value, path, net_type) if isinstance(value, str) else value


def _read_net(file: str, solver_path: str, net_type: Any) -> Any:
    if not os.path.exists(file):
        raise CheckFailed(f"the net {file} does not exist", elsewhere(file, solver_path))
    net = read_message(file, net_type())
    if net.layers:
        raise CheckFailed(
            f"the net {file} is in Caffe's old format ('layers' instead of 'layer')",
            f"run 'upgrade_net_proto_text {file} NEW.prototxt'",
        )
    return net


def _in_state(net: Any, name: str, train: bool, more: Any) -> SolverNet:
    """Keep the layers that are in `net` when the solver makes it for training or for testing."""
    state = type(net.state)()
    state.phase = 0 if train else 1  # caffe.proto's TRAIN and TEST
    state.MergeFrom(net.state)
    if more is not None:
        state.MergeFrom(more)
    return SolverNet(name, train, included_layers(net, state))


def included_layers(net: Any, state: Any) -> list[Any]:
    """Return the LayerParameters of the NetParameter `net` that are in it in a NetState."""
    return [layer for layer in net.layer if _is_included(layer, state)]


def _is_included(layer: Any, state: Any) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: Any, rule: Any) -> bool:
    """Whether a NetState satisfies a NetStateRule, as Caffe's Net::StateMeetsRule."""
    return not (
        (rule.HasField("phase") and rule.phase != state.phase)
        or (rule.HasField("min_level") and state.level < rule.min_level)
        or (rule.HasField("max_level") and state.level > rule.max_level)
        or not set(rule.stage) <= set(state.stage)
        or set(rule.not_stage) & set(state.stage)
    )
