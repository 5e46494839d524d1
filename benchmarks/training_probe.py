"""Training steps fed by JointDataLayer and by DummyData in turn: run by data_layer.py.

    python benchmarks/training_probe.py PARAM_STR STEPS

Both solvers train SqueezeNet with two classifiers, on the same images: a batch of JointDataLayer is
put into DummyData's blobs, which that layer leaves alone. A step takes far longer than a batch does
to be made, so that no work of the workers falls into the other solver's steps.

Prints JSON, a value for each step: "joint" and "dummy", its seconds; "waited" for the batch;
"took", waiting and copying; "workers", the seconds of a core that the workers took in it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from proc_figures import core_seconds, descendants

from sjft_tools.nets import layers as L
from sjft_tools.nets import squeezenet
from sjft_tools.nets.joint import joint_loss
from sjft_tools.nets.text import Message, Word, net_text, settings_text
from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

from stream_times import watch_stream  # noqa: E402

TOPS = ["data", "target_label", "source_label"]
CLASSES = 100
WARM_UP_STEPS = 3
# the same computation in every step: nothing is learnt
SOLVER: Message = {"base_lr": 0.0, "momentum": 0.9, "weight_decay": 0.0005, "lr_policy": "fixed"}


def solver(folder: Path, name: str, data: Message) -> Any:
    """Return a solver of the joint net with `data` as its data layer."""
    trunk = squeezenet.trunk()
    items = [
        data,
        *trunk.items,
        L.slice_batch("slice", trunk.top, ["target", "source"]),
        L.classifier("fc_target", "target", CLASSES),
        L.classifier("fc_source", "source", CLASSES),
        joint_loss(),
    ]
    net, file = folder / f"{name}.prototxt", folder / f"{name}_solver.prototxt"
    net.write_text(net_text(name, "A net to be fed.", items))
    mode = {"net": str(net), "display": 0, "solver_mode": Word("CPU")}
    file.write_text(settings_text("Nothing but steps.", [("", {**SOLVER, **mode})]))
    return caffe.get_solver(str(file))


def dummy_data(shapes: list[tuple[int, ...]]) -> Message:
    """Return a DummyData layer with tops of `shapes`."""
    fields = [{"dim": list(shape)} for shape in shapes]
    return {"name": "data", "type": "DummyData", "top": TOPS, "dummy_data_param": {"shape": fields}}


def main() -> None:
    params, steps = json.loads(sys.argv[1]), int(sys.argv[2])
    waited: list[float] = []
    took: list[float] = []
    watch_stream(waited, took)
    with tempfile.TemporaryDirectory() as folder:
        layer = L.python_layer("data", "JointDataLayer", params, TOPS)
        joint = solver(Path(folder), "joint", layer)
        shapes = [joint.net.blobs[top].data.shape for top in TOPS]
        dummy = solver(Path(folder), "dummy", dummy_data(shapes))
    solvers = {"joint": joint, "dummy": dummy}
    for each in solvers.values():
        each.step(WARM_UP_STEPS)
        for top in TOPS:
            dummy.net.blobs[top].data[...] = joint.net.blobs[top].data
    waited.clear()
    took.clear()
    helpers = descendants(os.getpid())
    seconds: dict[str, list[float]] = {"waited": waited, "took": took, "workers": []}
    seconds.update({name: [] for name in solvers})
    first = np.random.default_rng(1).integers(2, size=steps)
    for turn in first.tolist():
        for name in list(solvers)[:: 1 - 2 * turn]:
            begin, idle = time.perf_counter(), core_seconds(helpers)
            solvers[name].step(1)
            seconds[name].append(time.perf_counter() - begin)
            if name == "joint":
                seconds["workers"].append(core_seconds(helpers) - idle)
    print(json.dumps(seconds), flush=True)
    joint.net.layers[0].close()


if __name__ == "__main__":
    main()
