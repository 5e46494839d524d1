"""A net with its weights, ready to score images through pycaffe."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from sjft.errors import InputError, did_you_mean
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.caffemodel import (
    check_weights,
    read_caffemodel,
    roll_up,
    times,
    trained_blobs,
)
from sjft_tools.pycaffe import import_caffe

# Caffe ends the process where it cannot build a net, so that another one tries first.
_TRIAL = """
import sys, caffe
deploy, gpu, *sides = sys.argv[1:]
if gpu:
    caffe.set_device(int(gpu))
    caffe.set_mode_gpu()
net = caffe.Net(deploy, caffe.TEST)
for name in net.inputs:
    blob = net.blobs[name]
    blob.reshape(2, *blob.shape[1:])
net.reshape()
for side in map(int, sides):
    net.blobs[net.inputs[0]].reshape(1, 3, side, side + side // 3)
    net.reshape()
"""

# What comes between a softmax and the output without making anything else of probabilities.
_KEEPS_PROBABILITIES = {"Reshape", "Flatten", "Split", "Pooling"}


class TrainedNet:
    """Scores images.

    Attributes: `crop`, the side of the square input in pixels; `classes`, the scores per image;
    `output`, the name of the blob that holds them.
    """

    def __init__(
        self,
        deploy: str,
        weights: str,
        output: str | None,
        gpu: int | None,
        dense: Sequence[int] = (),
    ) -> None:
        """Build the net of the file `deploy` for the TEST phase and load `weights`.

        `output` names the blob of scores (default: the net's only output); `gpu` is the device's
        number, or None for the CPU; `dense`: shorter sides of whole images that the net is to take.
        An InnerProduct's weights are taken for a convolution that does the same at every position.
        Raises InputError if the net cannot be built, does not take one square colour image, has no
        N x C output (with `dense`: N x C x H x W), or the weights do not fit.
        """
        caffe = import_caffe()
        model = read_caffemodel(weights)
        _try(deploy, gpu, dense)
        if gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_device(gpu)  # first: whatever else Caffe did would take memory on GPU 0
            caffe.set_mode_gpu()
        self._net = caffe.Net(deploy, caffe.TEST)
        self._input, self.crop = _input(self._net, deploy)
        self.output = _output_name(self._net, deploy, output)
        self.classes = _classes(self._net, self.output, deploy, bool(dense))
        self._is_probability = _is_softmax(self._net, self.output)
        _load(self._net, model, weights, deploy)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the softmax of `images` (N x 3 x H x W float32, BGR, mean subtracted).

        float64 N x classes. Where the net's output is not behind a Softmax layer, it is taken for
        the scores that enter one. An output map of several positions is averaged over them, scores
        before the softmax and probabilities as they are.
        """
        blob = self._net.blobs[self._input]
        if blob.data.shape != images.shape:
            blob.reshape(*images.shape)
            self._net.reshape()
        blob.data[...] = images
        self._net.forward()
        scores = np.asarray(self._net.blobs[self.output].data, np.float64)
        scores = scores.reshape(len(images), self.classes, -1).mean(axis=2)
        return scores if self._is_probability else _softmax(scores)


def _softmax(scores: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # what is not finite is reported with the image's name
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _try(deploy: str, gpu: int | None, dense: Sequence[int]) -> None:
    """Raise InputError if Caffe would end the process when it builds the net."""
    if not os.path.isfile(deploy):
        raise InputError(f"the net {deploy} does not exist: expected a deploy prototxt")
    command = [sys.executable, "-c", _TRIAL, deploy, "" if gpu is None else str(gpu)]
    status, output = run_process(command)
    if status:
        where = "" if gpu is None else f" on GPU {gpu}"
        raise InputError(f"Caffe cannot build the net {deploy}{where}: {reason(status, output)}")
    if dense:
        status, output = run_process([*command, *map(str, dense)])
        if status:
            raise InputError(
                f"the net {deploy} does not take whole images of shorter side "
                f"{', '.join(map(str, dense))}: --crops dense expects a fully convolutional one, "
                f"and sizes large enough for it ({reason(status, output)})"
            )


def _input(net: Any, deploy: str) -> tuple[str, int]:
    """Return name and side of the net's one input."""
    shapes = {name: tuple(net.blobs[name].data.shape) for name in net.inputs}
    if len(shapes) != 1:
        raise InputError(
            f"the net {deploy} has {len(shapes)} inputs, expected one: a deploy prototxt with an "
            f"Input layer"
        )
    [(name, shape)] = shapes.items()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise InputError(
            f"the input '{name}' of {deploy} is {times(shape)}, expected N x 3 x S x S: square "
            f"colour images"
        )
    return name, shape[2]


def _output_name(net: Any, deploy: str, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in net.blobs:
            hint = did_you_mean(wanted, net.blobs)
            raise InputError(f"the net {deploy} has no blob '{wanted}' for --output{hint}")
        return wanted
    if len(net.outputs) != 1:
        raise InputError(
            f"the net {deploy} has {len(net.outputs)} outputs ({', '.join(net.outputs)}): name the "
            f"one with the scores by --output"
        )
    return str(net.outputs[0])


def _classes(net: Any, output: str, deploy: str, is_dense: bool) -> int:
    shape = tuple(net.blobs[output].data.shape)
    is_map = len(shape) > 2 and any(side != 1 for side in shape[2:])
    if len(shape) < 2 or (is_map and not is_dense):
        raise InputError(
            f"the output '{output}' of {deploy} is {times(shape)}, expected N x classes: name the "
            f"blob with the scores by --output"
        )
    return shape[1]


def _is_softmax(net: Any, output: str) -> bool:
    """Whether the blob `output` holds what a Softmax layer computed."""
    makers = {
        top: (layer.type, list(net.bottom_names[name]))
        for name, layer in zip(net._layer_names, net.layers)
        for top in net.top_names[name]
    }
    while True:
        kind, bottoms = makers[output]
        if kind not in _KEEPS_PROBABILITIES or output in bottoms:
            return kind == "Softmax"
        output = bottoms[0]


def _load(net: Any, model: Any, weights: str, deploy: str) -> None:
    """Copy the weights into the net; InputError if it wants any that they lack."""
    owned = _without_shared(net.params)
    wanted = {name: [tuple(blob.data.shape) for blob in owned[name]] for name in owned}
    kinds = dict(zip(net._layer_names, (layer.type for layer in net.layers)))
    convolutions = {name for name in wanted if kinds[name] == "Convolution"}
    blobs = trained_blobs(model)
    unrolled = check_weights(wanted, blobs, weights, deploy, convolutions)
    if not unrolled:
        net.copy_from(weights)
        return
    for name in unrolled:
        roll_up(blobs[name][0], wanted[name][0])
    with tempfile.NamedTemporaryFile(suffix=".caffemodel") as file:  # Caffe copies from files alone
        file.write(model.SerializeToString())
        file.flush()
        net.copy_from(file.name)


def _without_shared(params: Any) -> dict[str, Any]:
    """Return the blobs of every layer but those that use another layer's, as `param` can say."""
    owned: dict[str, Any] = {}
    addresses: set[int] = set()
    for name, blobs in params.items():
        found = {blob.data.ctypes.data for blob in blobs}
        if not found <= addresses:
            owned[name] = blobs
        addresses |= found
    return owned
