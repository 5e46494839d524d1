"""Small nets around the layers, as text and opened in pycaffe, and their solver."""

from __future__ import annotations

import json
from pathlib import Path

import caffe
from joint_world import World

JOINT_TOPS = ("data", "target_label", "source_label", "target_index")

BODY = """
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } }
}
layer {
  name: "slice" type: "Slice" bottom: "conv" top: "target" top: "source"
  slice_param { axis: 0 } include { phase: TRAIN }
}
layer { name: "pass" type: "Power" bottom: "conv" top: "target" include { phase: TEST } }
layer {
  name: "target_score" type: "InnerProduct" bottom: "target" top: "target_score"
  inner_product_param { num_output: TARGET weight_filler { type: "gaussian" std: 0.001 } }
}
layer {
  name: "source_score" type: "InnerProduct" bottom: "source" top: "source_score"
  inner_product_param { num_output: SOURCE weight_filler { type: "gaussian" std: 0.001 } }
  include { phase: TRAIN }
}
layer {
  name: "accuracy" type: "Accuracy" bottom: "target_score" bottom: "target_label" top: "accuracy"
  include { phase: TEST }
}
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.0001 lr_policy: "fixed" max_iter: 20 display: 1 momentum: 0.9
test_iter: 2 test_interval: 10 snapshot: 20 snapshot_prefix: "x" random_seed: 1 solver_mode: CPU
"""


def python_layer(
    layer: str,
    param_str: str,
    tops: tuple[str, ...],
    bottoms: tuple[str, ...] = (),
    extra: str = "",
) -> str:
    """A layer of sjft in a prototxt; `extra` lines stand between its blobs and its parameters."""
    blobs = "".join(f'bottom: "{b}" ' for b in bottoms) + "".join(f'top: "{t}" ' for t in tops)
    return (
        f'layer {{ name: "{layer}{len(bottoms)}" type: "Python" {blobs} {extra} python_param '
        f'{{ module: "sjft.layers" layer: "{layer}" param_str: \'{param_str}\' }} }}\n'
    )


def net(folder: Path, text: str, phase: int = caffe.TRAIN) -> caffe.Net:
    """Open the net `text`, written to net.prototxt in `folder`."""
    file = folder / "net.prototxt"
    file.write_text(text)
    return caffe.Net(str(file), phase)


def close_layers(*nets: caffe.Net) -> None:
    """End the workers of all data layers in `nets`."""
    for each in nets:
        for layer in each.layers:
            if hasattr(layer, "close"):
                layer.close()


def write_solver(
    folder: Path, world: World, classes: tuple[int, int] = (5, 6), **changes: object
) -> None:
    """Write solver.prototxt and net.prototxt; `changes` are to JointDataLayer's keys."""
    test = json.dumps({"target": world.target, "batch_size": 7, "resize": 36, "crop": 32})
    train_only = "include { phase: TRAIN }"
    bottoms = ("target_score", "target_label", "source_score", "source_label")
    tops = ("loss", "target_loss", "source_loss")
    weights = "loss_weight: 1 loss_weight: 0 loss_weight: 0 "
    text = (
        python_layer("JointDataLayer", world.param_str(**changes), JOINT_TOPS[:3], (), train_only)
        + python_layer("TargetDataLayer", test, JOINT_TOPS[:2], (), "include { phase: TEST }")
        + BODY.replace("TARGET", str(classes[0])).replace("SOURCE", str(classes[1]))
        + python_layer("MultiTaskLossLayer", "{}", tops, bottoms, weights + train_only)
    )
    (folder / "net.prototxt").write_text(text)
    (folder / "solver.prototxt").write_text(SOLVER)
