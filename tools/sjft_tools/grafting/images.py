"""How the original net prepares its images, and how ours does to show it the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sjft.errors import InputError
from sjft_tools.grafting.original import Original

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


def find_images(net: Original, needed: set[str], crop: int | None) -> Images:
    """Return how the images come in: `needed` are the blobs that the classifiers depend on.

    `crop` overrides what the net says. Raises InputError if they are not square colour images in
    one blob, or if their size cannot be told.
    """
    sources = {top: layer for layer in net.layers if is_source(layer) for top in layer.tops}
    blobs = sorted((set(sources) | set(net.inputs)) & needed)
    if len(blobs) != 1:
        listed = ", ".join(blobs) or "none"
        raise InputError(
            f"{net.path}: the classifier depends on {len(blobs)} blobs of data ({listed}), "
            f"expected one, of images"
        )
    [blob] = blobs
    shape = net.inputs.get(blob, [])
    if shape and (len(shape) != 4 or shape[1] != 3):
        raise InputError(
            f"{net.path}: the input '{blob}' is {' x '.join(map(str, shape))}, expected "
            f"N x 3 x S x S: colour images"
        )
    transform = _transform(net, blob)
    size = crop or int(transform.get("crop_size", 0)) or _square(net, shape)
    if not size:
        raise InputError(f"{net.path} does not say how large its images are: give --crop")
    if transform.get("force_gray"):
        raise InputError(f"{net.path} takes grey images, expected one that takes colour images")
    mean, remarks = _mean(transform)
    return Images(
        blob,
        size,
        mean,
        mirror=bool(transform.get("mirror", not transform)),
        factor=float(transform.get("scale", 1)),
        remarks=remarks,
    )


def is_source(layer: Any) -> bool:
    """Whether a layer brings data into the net."""
    return not layer.bottoms and layer.type not in ("Parameter", "DummyData")


def _transform(net: Original, blob: str) -> dict[str, Any]:
    """The transform_param of the layer that makes `blob`, of TRAIN's if there are two."""
    makers = [layer for layer in net.layers if is_source(layer) and blob in layer.tops]
    makers.sort(key=lambda layer: "TRAIN" not in layer.phases)
    return makers[0].fields.get("transform_param", {}) if makers else {}


def _square(net: Original, shape: list[int]) -> int:
    if not shape:
        return 0
    if shape[2] != shape[3]:
        raise InputError(
            f"{net.path} takes images of {shape[2]} x {shape[3]} pixels, expected a square: give "
            f"--crop"
        )
    return shape[2]


def _mean(transform: dict[str, Any]) -> tuple[tuple[float, float, float], list[str]]:
    values = transform.get("mean_value", [])
    if len(values) in (1, 3):
        blue, green, red = (values * 3)[:3]
        return (blue, green, red), []
    words = ", ".join(f"{value:g}" for value in DEFAULT_MEAN)
    if "mean_file" in transform:
        why = f"NET subtracts the image in {transform['mean_file']}"
    else:
        why = "NET does not say what it subtracts"
    return DEFAULT_MEAN, [f"{why}: the mean {words} (B, G, R) stands for it; --mean gives another"]
