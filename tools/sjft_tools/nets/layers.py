"""Stock Caffe layers as messages: one small function each, with the settings that our nets use.

Where a layer computes in place its bottom is its top. A layer that writes a blob of its own has the
blob's name, which is what netscope needs to draw the edges.
"""

from __future__ import annotations

import json
from typing import Any, Union

from sjft_tools.nets.text import Message, Word

Blobs = Union[str, list[str]]


def only_in(phase: str, layer: Message) -> Message:
    """`layer`, left out of every phase but `phase` (TRAIN or TEST)."""
    head = {key: value for key, value in layer.items() if key in ("name", "type", "bottom", "top")}
    rest = {key: value for key, value in layer.items() if key not in head}
    return {**head, "include": {"phase": Word(phase)}, **rest}


def without_training(layer: Message) -> Message:
    """`layer` without learning rates and weight fillers, as a deploy net has it.

    Parameters that share their weights by a name keep the name.
    """
    kept = {
        key: without_training(value) if isinstance(value, dict) else value
        for key, value in layer.items()
        if key not in ("param", "weight_filler", "bias_filler")
    }
    if "param" not in layer:
        return kept
    params = layer["param"] if isinstance(layer["param"], list) else [layer["param"]]
    rates = ("lr_mult", "decay_mult")
    names = [{key: value for key, value in p.items() if key not in rates} for p in params]
    if not any(names):
        return kept
    return {key: names if key == "param" else kept[key] for key in layer if key in (*kept, "param")}


def _layer(name: str, kind: str, bottom: Blobs, top: Blobs, **rest: Any) -> Message:
    return {"name": name, "type": kind, "bottom": bottom, "top": top, **rest}


def input_layer(name: str, shape: tuple[int, ...]) -> Message:
    """A blob that the caller fills, of the given shape (N, channels, height, width)."""
    shape_param = {"shape": {"dim": list(shape)}}
    return {"name": name, "type": "Input", "top": name, "input_param": shape_param}


def python_layer(
    name: str,
    layer_class: str,
    params: dict[str, Any],
    tops: list[str],
    bottoms: list[str] | None = None,
    loss_weights: list[float] | None = None,
) -> Message:
    """A layer of `sjft.layers`; `params` becomes its param_str, one line of JSON."""
    python_param = {
        "module": "sjft.layers",
        "layer": layer_class,
        "param_str": json.dumps(params, ensure_ascii=False),
    }
    weights = loss_weights or []
    return _layer(
        name, "Python", bottoms or [], tops, loss_weight=weights, python_param=python_param
    )


def convolution(
    name: str,
    bottom: str,
    num_output: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    bias: bool = False,
) -> Message:
    """A square convolution; `bias` where no normalisation, which has one, stands behind it.

    A bias learns twice as fast as the weights and does not decay, as in Caffe's own nets.
    """
    param: Message = {"num_output": num_output, "kernel_size": kernel}
    if stride != 1:
        param["stride"] = stride
    if pad:
        param["pad"] = pad
    rates: list[Message] = [{"lr_mult": 1, "decay_mult": 1}]
    if bias:
        rates.append({"lr_mult": 2, "decay_mult": 0})
    else:
        param["bias_term"] = False
    param["weight_filler"] = {"type": "msra"}
    return _layer(name, "Convolution", bottom, name, param=rates, convolution_param=param)


def batch_norm(
    name: str,
    bottom: str,
    top: str,
    moving_average: float | None = None,
    frozen: bool = False,
) -> Message:
    """BatchNorm: batch statistics in TRAIN, running ones in TEST (the phase's default).

    Its three blobs (mean, variance, and the count that both are divided by) are averages, not
    weights, hence learning rate 0. `moving_average` is the share of the old average that an
    iteration keeps; None leaves Caffe's 0.999. `frozen` uses the stored statistics in TRAIN, too,
    and leaves them as they are.
    """
    layer = _layer(name, "BatchNorm", bottom, top, param=[{"lr_mult": 0, "decay_mult": 0}] * 3)
    if frozen:
        layer["batch_norm_param"] = {"use_global_stats": True}
    elif moving_average is not None:
        layer["batch_norm_param"] = {"moving_average_fraction": moving_average}
    return layer


def scale(name: str, blob: str) -> Message:
    """A factor and a bias per channel, in place: BatchNorm in Caffe has neither."""
    return _layer(name, "Scale", blob, blob, scale_param={"bias_term": True})


def fixed_scale(name: str, blob: str, factor: float) -> Message:
    """A constant factor, in place: a Scale layer that learns nothing."""
    constant = {"num_axes": 0, "filler": {"type": "constant", "value": factor}}
    fixed = {"lr_mult": 0, "decay_mult": 0}
    return _layer(name, "Scale", blob, blob, param=fixed, scale_param=constant)


def relu(name: str, blob: str) -> Message:
    """max(x, 0), in place."""
    return _layer(name, "ReLU", blob, blob)


def pooling(name: str, bottom: str, method: str, kernel: int, stride: int) -> Message:
    """Pooling over kernel x kernel; `method` is MAX or AVE."""
    param = {"pool": Word(method), "kernel_size": kernel, "stride": stride}
    return _layer(name, "Pooling", bottom, name, pooling_param=param)


def eltwise_sum(name: str, bottoms: list[str]) -> Message:
    """The sum of blobs of one shape."""
    return _layer(name, "Eltwise", bottoms, name, eltwise_param={"operation": Word("SUM")})


def slice_batch(name: str, bottom: str, tops: list[str]) -> Message:
    """The batch cut into equal parts, in order."""
    return _layer(name, "Slice", bottom, tops, slice_param={"axis": 0})


def inner_product(name: str, bottom: str, num_output: int, std: float = 0.005) -> Message:
    """A fully connected layer inside a trunk; the bias learns twice as fast, undecayed."""
    rates = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]
    param = {
        "num_output": num_output,
        "weight_filler": {"type": "gaussian", "std": std},
        "bias_filler": {"type": "constant", "value": 0},
    }
    return _layer(name, "InnerProduct", bottom, name, param=rates, inner_product_param=param)


def classifier(name: str, bottom: str, classes: int) -> Message:
    """A fully connected classifier, with the method's gaussian of 0.01 as its first weights."""
    return inner_product(name, bottom, classes, std=0.01)


def softmax(name: str, bottom: str) -> Message:
    """Class scores to probabilities."""
    return _layer(name, "Softmax", bottom, name)


def softmax_loss(name: str, scores: str, labels: str) -> Message:
    """The mean softmax loss of a batch."""
    return _layer(name, "SoftmaxWithLoss", [scores, labels], name)


def accuracy(name: str, scores: str, labels: str, top_k: int = 1) -> Message:
    """The share of images whose label is among the `top_k` highest scores."""
    layer = _layer(name, "Accuracy", [scores, labels], name)
    if top_k != 1:
        layer["accuracy_param"] = {"top_k": top_k}
    return layer


def concat(name: str, bottoms: list[str]) -> Message:
    """The channels of blobs of one size, one after the other."""
    return _layer(name, "Concat", bottoms, name)


def dropout(name: str, blob: str, ratio: float) -> Message:
    """Zeroes a random share `ratio` of the values in TRAIN, in place."""
    return _layer(name, "Dropout", blob, blob, dropout_param={"dropout_ratio": ratio})


def global_average(name: str, bottom: str) -> Message:
    """The mean over each channel's whole map, whatever its size."""
    param = {"pool": Word("AVE"), "global_pooling": True}
    return _layer(name, "Pooling", bottom, name, pooling_param=param)
