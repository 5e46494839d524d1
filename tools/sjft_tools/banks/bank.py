"""What every filter bank is: a fixed set of filters whose responses describe an image."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np


class Layer(NamedTuple):
    """Channels of a bank that have one map size and one weight in the distance."""

    name: str
    channels: int
    pixels: int
    """Responses per channel and image."""
    weight: float
    """Of each channel: w_h of the method, section 3. Those of all a bank's channels sum to 1."""


class Bank(Protocol):
    """A filter bank. Its channels are those of `layers`, one layer after the other.

    `resize`, `crop`: an image is warped to resize x resize pixels, of which the centre crop x crop
    are filtered. `resolution`: before that an image larger than resolution x resolution pixels is
    reduced to that; None leaves it out. `weights_checksum`: ``sha256:...`` of learnt weights, "" if
    there are none. `backend`: what computes the responses; another one's differ in their last
    digits, which can move a response to the next bin. `batch`: how many images it filters at a
    time, whatever the number given.
    """

    name: str
    backend: str
    batch: int
    resize: int
    crop: int
    resolution: int | None
    layers: tuple[Layer, ...]
    weights_checksum: str

    def responses(self, images: np.ndarray) -> list[np.ndarray]:
        """Filter N x crop x crop x 3 uint8 BGR images.

        Returns for each layer N x channels x pixels float32. An image's responses do not depend on
        the other images, nor on the number of threads; any number of threads may call it at once.
        """


class TorchBank(Bank, Protocol):
    """A bank by torch: of the backend "torch" or "cuda"."""

    def device_responses(self, images: np.ndarray) -> list[Any]:
        """Return what responses() does, as tensors on the backend's device.

        `images`: exactly `batch` of them. On a GPU the filters may still be at work.
        """


def warp(image: np.ndarray, bank: Bank) -> np.ndarray:
    """Bring an H x W x 3 uint8 BGR image to the bank's size: crop x crop x 3.

    Reduced to the bank's resolution first, if it has one, by averaging over areas: where one set's
    images are sharper than the other's, their statistics would tell the sets apart and not what
    they show.

    Warped with OpenCV's bilinear interpolation (what Caffe's own tools warp with), whatever the
    aspect ratio; then the centre is cut out. No mirroring: an image has one descriptor.
    """
    if bank.resolution is not None and min(image.shape[:2]) > bank.resolution:
        size = (bank.resolution, bank.resolution)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (bank.resize, bank.resize):
        image = cv2.resize(image, (bank.resize, bank.resize), interpolation=cv2.INTER_LINEAR)
    start = (bank.resize - bank.crop) // 2
    return image[start : start + bank.crop, start : start + bank.crop]
