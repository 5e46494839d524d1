"""Reading AlexNet's first two layers from a .caffemodel or an .npz file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft_tools.caffemodel import blob_shape, read_caffemodel, times, trained_blobs
from sjft_tools.checksums import checksum_of
from sjft_tools.npz import npz_problem

SHAPES = {
    "conv1_w": (96, 3, 11, 11),
    "conv1_b": (96,),
    "conv2_w": (256, 48, 5, 5),
    "conv2_b": (256,),
}


def read_weights(path: str) -> dict[str, np.ndarray]:
    """Return conv1_w, conv1_b, conv2_w, conv2_b: float32, output x input x height x width, BGR.

    Raises InputError if the file is missing or is neither kind, if a layer is missing, or if a
    shape is not SHAPES' or a value is NaN or infinite.
    """
    if not os.path.isfile(path):
        raise InputError(
            f"the weights file {path} does not exist ('sjft models' says where AlexNet is "
            f"published)"
        )
    arrays = _from_npz(path) if path.endswith(".npz") else _from_caffemodel(path)
    for name, expected in SHAPES.items():
        found = arrays[name].shape
        if name.endswith("_b") and arrays[name].size == expected[0]:
            # Old .caffemodel files store biases as 1 x 1 x 1 x N.
            arrays[name] = arrays[name].reshape(expected)
        elif found != expected:
            raise InputError(
                f"the weights {name} in {path} have shape {times(found)}, expected "
                f"{times(expected)}: the bank needs the first two layers of AlexNet"
            )
        arrays[name] = np.ascontiguousarray(arrays[name], np.float32)
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"the weights {name} in {path} hold NaN or infinite values")
    return arrays


def checksum(arrays: dict[str, np.ndarray]) -> str:
    """Return ``sha256:...`` of the weights' values: the same for both kinds of file."""
    return checksum_of(*(arrays[name].astype("<f4").tobytes() for name in SHAPES))


def _from_npz(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in SHAPES if name not in stored.files]
            if missing:
                raise InputError(
                    f"the weights file {path} lacks {', '.join(missing)}: expected "
                    f"{', '.join(SHAPES)}"
                )
            return {name: stored[name] for name in SHAPES}
    except InputError:
        raise
    except Exception as error:
        # A broken zip file surfaces as one of many exception types.
        reason = npz_problem(path, error)
        raise InputError(f"the weights file {path} cannot be read as .npz: {reason}") from None


def _from_caffemodel(path: str) -> dict[str, np.ndarray]:
    blobs = trained_blobs(read_caffemodel(path))
    arrays = {}
    for name in ("conv1", "conv2"):
        if len(blobs.get(name, ())) != 2:
            raise InputError(
                f"the weights file {path} has no layer {name} with weights and bias: expected the "
                f"layers conv1 and conv2 of AlexNet"
            )
        arrays[f"{name}_w"] = _array(blobs[name][0])
        arrays[f"{name}_b"] = _array(blobs[name][1])
    return arrays


def _array(blob: Any) -> np.ndarray:
    """Return a BlobProto's values in its shape, or flat if the two do not agree."""
    values = np.array(blob.data if len(blob.data) else blob.double_data, np.float32)
    shape = blob_shape(blob)
    return values.reshape(shape) if values.size == np.prod(shape) else values
