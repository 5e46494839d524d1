"""A net with its weights, ready to score images through pycaffe."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from sjft.errors import InputError, did_you_mean
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.caffemodel import check_weights, read_caffemodel, times, trained_blobs
from sjft_tools.pycaffe import import_caffe

# Caffe ends the process where it cannot build a net, so that another one tries first.
_TRIAL = """
import sys, caffe
if len(sys.argv) > 2:
    caffe.set_mode_gpu()
    caffe.set_device(int(sys.argv[2]))
net = caffe.Net(sys.argv[1], caffe.TEST)
for name in net.inputs:
    blob = net.blobs[name]
    blob.reshape(2, *blob.shape[1:])
net.reshape()
"""


class TrainedNet:
    """Scores images.

    Attributes: `crop`, the side of the square input in pixels; `classes`, the scores per image;
    `output`, the name of the blob that holds them.
    """

    def __init__(self, deploy: str, weights: str, output: str | None, gpu: int | None) -> None:
        """Build the net of the file `deploy` for the TEST phase and load `weights`.

        `output` names the blob of scores (default: the net's only output); `gpu` is the device's
        number, or None for the CPU. Raises InputError if the net cannot be built, does not take one
        square colour image, has no N x C output, or the weights do not fit.
        """
        caffe = import_caffe()
        blobs = trained_blobs(read_caffemodel(weights))
        _try(deploy, gpu)
        if gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_mode_gpu()
            caffe.set_device(gpu)
        self._net = caffe.Net(deploy, caffe.TEST)
        self._input, self.crop = _input(self._net, deploy)
        self.output = _output_name(self._net, deploy, output)
        self.classes = _classes(self._net.blobs[self.output].data.shape, self.output, deploy)
        wanted = {
            name: [tuple(blob.data.shape) for blob in params]
            for name, params in self._net.params.items()
        }
        check_weights(wanted, blobs, weights, deploy)
        self._net.copy_from(weights)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return the scores of `images` (N x 3 x crop x crop float32, BGR, mean subtracted).

        float32 N x classes: as the output blob gives them, probabilities or not.
        """
        blob = self._net.blobs[self._input]
        if blob.data.shape != images.shape:
            blob.reshape(*images.shape)
            self._net.reshape()
        blob.data[...] = images
        self._net.forward()
        scores = self._net.blobs[self.output].data
        return np.array(scores, np.float32).reshape(len(images), self.classes)


def _try(deploy: str, gpu: int | None) -> None:
    """Raise InputError if Caffe would end the process when it builds the net."""
    if not os.path.isfile(deploy):
        raise InputError(f"the net {deploy} does not exist: expected a deploy prototxt")
    command = [sys.executable, "-c", _TRIAL, deploy, *([] if gpu is None else [str(gpu)])]
    status, output = run_process(command)
    if status:
        where = "" if gpu is None else f" on GPU {gpu}"
        raise InputError(f"Caffe cannot build the net {deploy}{where}: {reason(status, output)}")


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


def _classes(shape: tuple[int, ...], output: str, deploy: str) -> int:
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise InputError(
            f"the output '{output}' of {deploy} is {times(shape)}, expected N x classes: name the "
            f"blob with the scores by --output"
        )
    return shape[1]
