"""The AlexNet bank: the raw outputs of conv1 and conv2."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from sjft.errors import InputError
from sjft_tools.banks.alexnet_weights import checksum, read_weights
from sjft_tools.banks.bank import Layer
from sjft_tools.banks.fixed_batches import in_fixed_batches

CROP = 224
#: ImageNet's mean, B, G, R
MEAN = (104.0, 117.0, 123.0)
#: The side of conv1's map that whole pooling windows reach. The method counts 26 x 26 pooled
#: values, those of windows that lie wholly inside the 54 x 54 map; Caffe's pooling would add a 27th
#: row and column of windows that do not.
WHOLE_WINDOWS = 53


class AlexNetBank(ABC):
    """352 channels: 96 of conv1 (54 x 54 responses each), then 256 of conv2 (26 x 26 each).

    Method, section 1: the input is the centre 224 x 224 of the warped BGR image less MEAN; the
    outputs are taken before their ReLU. Each layer has half of the weight in the distance.
    """

    name = "alexnet"
    backend: str
    batch: int
    crop = CROP
    layers: tuple[Layer, ...] = (
        Layer("conv1", 96, 54 * 54, 0.5 / 96),
        Layer("conv2", 256, 26 * 26, 0.5 / 256),
    )

    def __init__(self, weights: str, resize: int, resolution: int | None) -> None:
        """Raises InputError if `weights` is unusable (see read_weights) or `resize` < 224."""
        if resize < CROP:
            raise InputError(f"the alexnet bank needs --resize of at least {CROP}, got {resize}")
        self.resize = resize
        self.resolution = resolution
        arrays = read_weights(weights)
        self.weights_checksum = checksum(arrays)
        self._load(arrays)

    @abstractmethod
    def _load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in the weights: see alexnet_weights.SHAPES."""

    @abstractmethod
    def _filter(self, images: np.ndarray) -> list[np.ndarray]:
        """Do as responses() does for exactly `batch` images."""

    def responses(self, images: np.ndarray) -> list[np.ndarray]:
        """Return [N x 96 x 2916, N x 256 x 676] float32 for N x 224 x 224 x 3 uint8 BGR images."""
        return in_fixed_batches(images, self.batch, self._filter)
