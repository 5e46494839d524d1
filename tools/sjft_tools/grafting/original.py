"""The net to graft onto: its layers with their phases, its images and how they are prepared."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from sjft.errors import InputError
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.caffemodel import Shape
from sjft_tools.net_files import as_fields, input_shapes, layers_of, read_net, sjft_layer
from sjft_tools.nets.text import Message
from sjft_tools.pycaffe import caffe_messages
from sjft_tools.solver_files import read_text

UPGRADE = "upgrade_net_proto_text"
#: What a layer says of its phases, which Layer.phases states plainly.
_RULES = ("include", "exclude", "phase")


@dataclass(frozen=True)
class Layer:
    """A layer's `fields` without its phase rules, and in which of TRAIN and TEST it stands."""

    fields: Message
    phases: frozenset[str]

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.fields["name"])

    @property
    def type(self) -> str:
        """The layer's type."""
        return str(self.fields["type"])

    @property
    def bottoms(self) -> list[str]:
        """The blobs that it reads."""
        return list(self.fields.get("bottom", []))

    @property
    def tops(self) -> list[str]:
        """The blobs that it writes."""
        return list(self.fields.get("top", []))


@dataclass(frozen=True)
class Original:
    """The net in the file `path`, and its `name`; `inputs` maps inputs to their shapes.

    `staged_sources`: layers that bring data in, but only in a stage: they are not among `layers`.
    """

    path: str
    name: str
    layers: list[Layer]
    inputs: dict[str, Shape]
    staged_sources: list[str]

    @property
    def trains(self) -> bool:
        """Whether it has a loss, as a train_val has, or none, as a deploy net."""
        return any("Loss" in layer.type for layer in self.layers)


def read_original(path: str) -> Original:
    """Read the prototxt at `path`; nets of Caffe's old formats go through Caffe's own upgrade.

    Raises InputError if it is not a net, or is an old one and Caffe's upgrade is not at hand.
    """
    net = _upgraded(path) if _is_old(path) else read_net(path)
    if any(sjft_layer(layer) == "MultiTaskLossLayer" for layer in net.layer):
        raise InputError(
            f"{path} has two heads and the joint loss already: expected a net with one task, or "
            f"run 'sjft adapt' to give a solver and its joint net other data"
        )
    for number, layer in enumerate(net.layer, 1):
        if not layer.name or not layer.type:
            lacks = "type" if layer.name else "name"
            raise InputError(
                f"layer {number} of {path} has no {lacks}: expected one for each layer"
            )
    inputs = input_shapes(net)
    for layer in net.layer:
        if layer.type == "Input":
            inputs.update(zip(layer.top, (tuple(s.dim) for s in layer.input_param.shape)))
    stem = os.fsencode(Path(path).stem).decode("utf-8", "replace")
    layers = _with_phases(net)
    kept = {layer.name for layer in layers}
    staged = [layer.name for layer in net.layer if not layer.bottom and layer.name not in kept]
    return Original(path, net.name or stem, layers, inputs, staged)


def _is_old(path: str) -> bool:
    """Whether `path` is a net whose layers stand in `layers`."""
    try:
        net = text_format.Parse(read_text(path), caffe_messages().NetParameter())
    except (InputError, text_format.ParseError):
        return False  # read_net says why
    return len(net.layers) > 0


def _upgraded(path: str) -> Any:
    program = shutil.which(UPGRADE)
    if program is None:
        raise InputError(
            f"{path} is in Caffe's old format ('layers' instead of 'layer'), and {UPGRADE}, which "
            f"comes with Caffe, is not on the PATH: run '{UPGRADE} {path} NEW.prototxt' and take "
            f"that"
        )
    with tempfile.TemporaryDirectory() as folder:
        new = str(Path(folder) / "net.prototxt")
        status, output = run_process([program, path, new])
        if status or not Path(new).is_file():
            raise InputError(f"{UPGRADE} cannot upgrade {path}: {reason(status, output)}")
        return read_net(new)


def _with_phases(net: Any) -> list[Layer]:
    """The layers that stand in TRAIN or TEST without any stage, in order."""
    standing = {phase: layers_of(net, phase) for phase in ("TRAIN", "TEST")}
    at = dict.fromkeys(standing, 0)
    result = []
    for layer in net.layer:
        phases = set()
        for phase, layers in standing.items():
            if at[phase] < len(layers) and layers[at[phase]] == layer:
                phases.add(phase)
                at[phase] += 1
        if phases:
            fields = {key: value for key, value in as_fields(layer).items() if key not in _RULES}
            result.append(Layer(fields, frozenset(phases)))
    return result
