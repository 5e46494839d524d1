"""Nets of several kinds and ages, and ``sjft graft`` run on them beside small data bases."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np

from conftest import draw_image, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import Parser
from sjft_tools.commands import graft as command
from sjft_tools.neighbour_lmdb_writer import write_neighbours

# A train_val as Caffe's own AlexNet has it: two data layers, LRN, groups, dropout, an accuracy.
ALEXNET_LIKE = """
name: "SmallAlexNet"
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 40 mean_file: "mean.binaryproto" }
  data_param { source: "train_lmdb" batch_size: 4 backend: LMDB }
}
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { mirror: false crop_size: 40 mean_file: "mean.binaryproto" }
  data_param { source: "val_lmdb" batch_size: 4 backend: LMDB }
}
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param {
    num_output: 8 kernel_size: 5 stride: 2
    weight_filler { type: "gaussian" std: 0.02 } bias_filler { type: "constant" value: .1 }
  }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "norm1" type: "LRN" bottom: "conv1" top: "norm1"
  lrn_param { local_size: 5 alpha: 1e-4 }
}
layer {
  name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 8 kernel_size: 3 group: 2 weight_filler { type: "xavier" } }
}
layer {
  name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
layer {
  name: "fc7" type: "InnerProduct" bottom: "pool2" top: "fc7"
  inner_product_param { num_output: 16 weight_filler { type: "xavier" } }
}
layer { name: "relu7" type: "ReLU" bottom: "fc7" top: "fc7" }
layer { name: "drop7" type: "Dropout" bottom: "fc7" top: "fc7" }
layer {
  name: "fc8" type: "InnerProduct" bottom: "fc7" top: "fc8"
  param { lr_mult: 10 decay_mult: 1 } param { lr_mult: 20 decay_mult: 0 }
  inner_product_param { num_output: 1000 weight_filler { type: "gaussian" std: 0.03 } }
}
layer {
  name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy"
  include { phase: TEST }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }
"""

# Inception with an auxiliary head in training, rules by stage and by exclusion, a scale.
GOOGLENET_LIKE = """
name: "SmallGoogLeNet"
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 32 mean_value: 100 scale: 0.02 }
  data_param { source: "train_lmdb" batch_size: 4 backend: LMDB }
}
layer {
  name: "debug" type: "Power" bottom: "data" top: "debug" include { stage: "debug" }
}
layer {
  name: "a/1x1" type: "Convolution" bottom: "data" top: "a/1x1"
  convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "xavier" } }
}
layer {
  name: "a/3x3" type: "Convolution" bottom: "data" top: "a/3x3"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layer { name: "a/output" type: "Concat" bottom: "a/1x1" bottom: "a/3x3" top: "a/output" }
layer {
  name: "bn" type: "BatchNorm" bottom: "a/output" top: "a/output"
  batch_norm_param { use_global_stats: true }
}
layer {
  name: "loss1/pool" type: "Pooling" bottom: "a/output" top: "loss1/pool" exclude { phase: TEST }
  pooling_param { pool: AVE kernel_size: 8 stride: 8 }
}
layer {
  name: "loss1/classifier" type: "InnerProduct" bottom: "loss1/pool" top: "loss1/classifier"
  include { phase: TRAIN }
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layer {
  name: "loss1/loss" type: "SoftmaxWithLoss" bottom: "loss1/classifier" bottom: "label"
  top: "loss1/loss" loss_weight: 0.3 include { phase: TRAIN }
}
layer {
  name: "pool" type: "Pooling" bottom: "a/output" top: "pool"
  pooling_param { pool: AVE global_pooling: true }
}
layer {
  name: "loss3/classifier" type: "InnerProduct" bottom: "pool" top: "loss3/classifier"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layer {
  name: "loss3/loss3" type: "SoftmaxWithLoss" bottom: "loss3/classifier" bottom: "label"
  top: "loss3/loss3" loss_weight: 1
}
layer {
  name: "loss3/top-1" type: "Accuracy" bottom: "loss3/classifier" bottom: "label"
  top: "loss3/top-1" include { phase: TEST }
}
"""

# A deploy net whose classifier is a convolution with a pooling behind it.
SQUEEZENET_LIKE = """
name: "SmallSqueezeNet"
input: "data"
input_shape { dim: 10 dim: 3 dim: 32 dim: 32 }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "conv10" type: "Convolution" bottom: "conv1" top: "conv10"
  convolution_param { num_output: 1000 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } }
}
layer { name: "relu10" type: "ReLU" bottom: "conv10" top: "conv10" }
layer {
  name: "pool10" type: "Pooling" bottom: "conv10" top: "pool10"
  pooling_param { pool: AVE global_pooling: true }
}
layer { name: "prob" type: "Softmax" bottom: "pool10" top: "prob" }
"""

# Caffe's format of 2014, and that of 2013.
V1 = """
name: "SmallV1"
layers {
  name: "data" type: DATA top: "data" top: "label"
  data_param { source: "train_lmdb" batch_size: 4 backend: LMDB }
  transform_param { crop_size: 32 mean_value: 104 mean_value: 117 mean_value: 123 }
}
layers {
  name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 8 kernel_size: 5 stride: 3 weight_filler { type: "xavier" } }
}
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers {
  name: "fc8" type: INNER_PRODUCT bottom: "conv1" top: "fc8" blobs_lr: 1 blobs_lr: 2
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc8" bottom: "label" }
"""
V0 = """
name: "SmallV0"
layers {
  layer { name: "data" type: "data" source: "train_lmdb" batchsize: 4 cropsize: 32 mirror: true }
  top: "data" top: "label"
}
layers {
  layer {
    name: "conv1" type: "conv" num_output: 8 kernelsize: 5 stride: 3
    weight_filler { type: "xavier" } blobs_lr: 1. blobs_lr: 2.
  }
  bottom: "data" top: "conv1"
}
layers {
  layer { name: "fc8" type: "innerproduct" num_output: 10 weight_filler { type: "xavier" } }
  bottom: "conv1" top: "fc8"
}
layers { layer { name: "loss" type: "softmax_loss" } bottom: "fc8" bottom: "label" }
"""

NETS = {
    "alexnet": ALEXNET_LIKE,
    "googlenet": GOOGLENET_LIKE,
    "squeezenet": SQUEEZENET_LIKE,
    "v1": V1,
    "v0": V0,
}
CLASSIFIERS = {
    "alexnet": ["fc8"],
    "googlenet": ["loss1/classifier", "loss3/classifier"],
    "squeezenet": ["conv10"],
    "v1": ["fc8"],
    "v0": ["fc8"],
}
#: An input, for nets of which only the rest is of interest.
INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }'
#: Options of ``sjft graft``.
SIZES = ("--target-classes", 4, "--source-classes", 6)


def write_data_bases(folder: Path) -> None:
    """Write small data bases under their default names, data/*_lmdb."""
    (folder / "data").mkdir()
    for seed, role in enumerate(("target_train", "target_test", "source")):
        images = [draw_image(10 * seed + i, 48, 48) for i in range(8)]
        labels = [i % 4 for i in range(8)]
        write_image_lmdb(folder / f"data/{role}_lmdb", images, labels, list("abcd"))
    target = ImageLmdb(str(folder / "data/target_train_lmdb"))
    source = ImageLmdb(str(folder / "data/source_lmdb"))
    indices = (np.arange(8)[:, None] + np.arange(4)) % 8
    distances = np.zeros((8, 4), np.float32)
    write_neighbours(str(folder / "data/neighbors_lmdb"), target, source, indices, distances, {})


def graft(name: str, text: str, *options: object) -> str:
    """Graft the net `text` as `name`.prototxt in the current folder; what the command prints."""
    Path(f"{name}.prototxt").write_text(text)
    parser = Parser(prog="sjft graft")
    command.add_arguments(parser)
    batches = ("--batch-size", 4, "--k0", 4)
    arguments = (f"{name}.prototxt", "--out-dir", f"nets/{name}", *SIZES, *batches, *options)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        command.run(parser.parse_args([str(argument) for argument in arguments]))
    return output.getvalue()
