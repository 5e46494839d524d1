"""How the original net prepares its images, and how ours does to show it the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from sjft.errors import InputError
from sjft_tools.caffemodel import Shape, times
from sjft_tools.grafting.original import Layer, Original
from sjft_tools.pycaffe import caffe_messages

DEFAULT_MEAN = (104.0, 117.0, 123.0)


@dataclass(frozen=True)
class Images:
    """`blob` holds them; `crop` in pixels; `mean` in B, G, R; `factor` comes after the mean.

    `remarks`: sentences for the user on what could not be read from the net.
    """

    blob: str
    crop: int
    mean: tuple[float, float, float]
    mirror: bool
    factor: float
    remarks: list[str]


def find_images(
    net: Original,
    needed: set[str],
    crop: int | None,
    given_mean: tuple[float, float, float] | None = None,
    given_scale: float | None = None,
) -> Images:
    """Return how the images come in: `needed` are the blobs that the classifiers depend on.

    `crop`, `given_mean` (B, G, R) and `given_scale` override what the net says. Raises InputError
    if they are not square colour images in one blob, or if their size cannot be told.
    """
    sources = {top: layer for layer in net.layers if is_source(layer) for top in layer.tops}
    blobs = sorted((set(sources) | set(net.inputs)) & needed)
    if len(blobs) != 1:
        listed = ", ".join(blobs) or "none"
        staged = ", ".join(f"'{name}'" for name in net.staged_sources)
        raise InputError(
            f"{net.path}: the classifier depends on {len(blobs)} blobs of data ({listed}), "
            f"expected one, of images"
            + (f"; {staged} stand only in a stage: expected phases instead" if staged else "")
        )
    [blob] = blobs
    shape = net.inputs.get(blob, ())
    if shape and (len(shape) != 4 or shape[1] != 3):
        raise InputError(
            f"{net.path}: the input '{blob}' is {times(shape)}, expected N x 3 x S x S: "
            f"colour images"
        )
    maker = _maker(net, blob)
    transform = maker.fields.get("transform_param", {}) if maker else {}
    size = crop or int(transform.get("crop_size", 0)) or _square(net, shape)
    if not size:
        raise InputError(f"{net.path} does not say how large its images are: give --crop")
    if transform.get("force_gray"):
        raise InputError(f"{net.path} takes grey images, expected one that takes colour images")
    mean, remarks = (given_mean, []) if given_mean else _mean(maker, transform)
    return Images(
        blob,
        size,
        mean,
        mirror=bool(transform.get("mirror", not transform)),
        factor=given_scale or float(transform.get("scale", 1)),
        remarks=remarks,
    )


def is_source(layer: Any) -> bool:
    """Whether a layer brings data into the net."""
    return not layer.bottoms and layer.type not in ("Parameter", "DummyData")


def _maker(net: Original, blob: str) -> Layer | None:
    """The layer that makes `blob`, TRAIN's if there are two; None for an input of the net."""
    makers = [layer for layer in net.layers if is_source(layer) and blob in layer.tops]
    makers.sort(key=lambda layer: "TRAIN" not in layer.phases)
    return makers[0] if makers else None


def _square(net: Original, shape: Shape) -> int:
    if not shape:
        return 0
    if shape[2] != shape[3]:
        raise InputError(
            f"{net.path} takes images of {shape[2]} x {shape[3]} pixels, expected a square: give "
            f"--crop"
        )
    return shape[2]


def _mean(
    maker: Layer | None, transform: dict[str, Any]
) -> tuple[tuple[float, float, float], list[str]]:
    values = transform.get("mean_value", [])
    if len(values) in (1, 3):
        blue, green, red = (values * 3)[:3]
        return (blue, green, red), []
    file = transform.get("mean_file")
    if file is not None and os.path.isfile(file):
        mean = _mean_of_image(file)
        return mean, [f"NET subtracts the image in {file}: its mean, {_words(mean)}, stands for it"]
    if file is None and maker is not None and maker.type in _TRANSFORMING:
        return (0.0, 0.0, 0.0), [f"NET subtracts no mean, nor do the grafted nets; {_ANOTHER}"]
    why = f"NET subtracts the image in {file}, which is not there" if file else _SILENT
    return DEFAULT_MEAN, [f"{why}: the mean {_words(DEFAULT_MEAN)} stands for it; {_ANOTHER}"]


#: Layers that show images as they are where their transform_param says nothing.
_TRANSFORMING = ("Data", "ImageData")
_SILENT = "NET does not say what it subtracts"
_ANOTHER = "--mean gives another"


def _words(mean: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.6g}" for value in mean) + " (B, G, R)"


def _mean_of_image(path: str) -> tuple[float, float, float]:
    """The mean of each colour of a mean image, a binaryproto of 3 x H x W values."""
    blob = caffe_messages().BlobProto()
    try:
        blob.ParseFromString(Path(path).read_bytes())
    except (OSError, DecodeError):
        blob.Clear()
    if not len(blob.data) or len(blob.data) % 3:
        raise InputError(f"{path} is not a mean image of three colours: give --mean")
    blue, green, red = np.array(blob.data, np.float64).reshape(3, -1).mean(axis=1).tolist()
    return blue, green, red
