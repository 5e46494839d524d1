"""A small joint training job whose runs are compared bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

from joint_world import World


def net_text(world: World, **changes: object) -> str:
    """A small joint net with convolution, a test net over part of the test set, and no dropout."""
    joint = world.param_str(batch_size=8, **changes)
    target = json.dumps({"target": world.target, "batch_size": 3, "crop": 32, "workers": 1})
    return f"""
layer {{ name: "data" type: "Python" top: "data" top: "target_label" top: "source_label"
  include {{ phase: TRAIN }}
  python_param {{ module: "sjft.layers" layer: "JointDataLayer" param_str: '{joint}' }} }}
layer {{ name: "data" type: "Python" top: "data" top: "target_label"
  include {{ phase: TEST }}
  python_param {{ module: "sjft.layers" layer: "TargetDataLayer" param_str: '{target}' }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: 4 kernel_size: 5 stride: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "slice" type: "Slice" bottom: "conv" top: "target" top: "source"
  include {{ phase: TRAIN }} slice_param {{ axis: 0 }} }}
layer {{ name: "score" type: "InnerProduct" bottom: "target" top: "target_score"
  include {{ phase: TRAIN }} param {{ name: "w" }} param {{ name: "b" }}
  inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "source_score" type: "InnerProduct" bottom: "source" top: "source_score"
  include {{ phase: TRAIN }}
  inner_product_param {{ num_output: 6 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "Python" bottom: "target_score" bottom: "target_label"
  bottom: "source_score" bottom: "source_label" top: "loss" loss_weight: 1
  include {{ phase: TRAIN }}
  python_param {{ module: "sjft.layers" layer: "MultiTaskLossLayer" param_str: "{{}}" }} }}
layer {{ name: "score" type: "InnerProduct" bottom: "conv" top: "target_score"
  include {{ phase: TEST }} param {{ name: "w" }} param {{ name: "b" }}
  inner_product_param {{ num_output: 5 }} }}
layer {{ name: "test_loss" type: "SoftmaxWithLoss" bottom: "target_score" bottom: "target_label"
  top: "test_loss" include {{ phase: TEST }} }}
"""


def write_solver(folder: Path, world: World, iterations: int, **fields: object) -> Path:
    """Write net.prototxt and a solver for so many iterations into `folder`; return the solver.

    `fields` are further lines of the solver, or others.
    """
    folder.mkdir(exist_ok=True)
    net = folder / "net.prototxt"
    net.write_text(net_text(world))
    settings: dict[str, object] = {
        "net": json.dumps(str(net)),
        "base_lr": 0.0001,
        "lr_policy": '"multistep"',
        "gamma": 0.5,
        "stepvalue": "[8, 16]",
        "momentum": 0.9,
        "weight_decay": 0.001,
        "max_iter": iterations,
        "iter_size": 2,
        "display": 1,
        "test_iter": 2,
        "test_interval": 5,
        "snapshot": 10,
        "snapshot_prefix": json.dumps(str(folder / "small")),
        "random_seed": 7,
        "solver_mode": "CPU",
        **fields,
    }
    solver = folder / f"solver_{iterations}.prototxt"
    solver.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return solver
