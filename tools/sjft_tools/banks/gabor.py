"""The Gabor bank: 4 scales x 6 orientations, real and imaginary part, on the grey image.

B. S. Manjunath and W. Y. Ma, "Texture features for browsing and retrieval of image data", IEEE PAMI
18(8), 1996, section 3. Equation 1 is the Gabor function, equation 2 its dilations and rotations;
the formulas for sigma_u and sigma_v make neighbouring filters touch, in the frequency plane, where
they fall to half of their peaks.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from sjft.errors import InputError
from sjft_tools.banks.bank import Layer
from sjft_tools.banks.fixed_batches import in_fixed_batches
from sjft_tools.banks.mirrored import make_filters

SCALES = 4
ORIENTATIONS = 6
LOWEST_FREQUENCY = 0.05
HIGHEST_FREQUENCY = 0.4
#: A kernel ends where its envelope is below exp(-4.5) = 1 % of its peak.
SUPPORT_SIGMAS = 3.0
MIN_RESIZE = 8


def gabor_kernel(scale: int, orientation: int) -> np.ndarray:
    """Return one kernel, (2R+1) x (2R+1) complex128, origin in the middle, rows = y downwards.

    `scale` 0 is the finest (0.4 cycles per pixel), 3 the coarsest (0.05). The real part is biased
    to zero mean, as the paper asks, so that responses do not depend on the image's brightness.
    """
    dilation = (HIGHEST_FREQUENCY / LOWEST_FREQUENCY) ** (1 / (SCALES - 1))
    top = HIGHEST_FREQUENCY
    two_ln2 = 2 * math.log(2)
    sigma_u = (dilation - 1) * top / ((dilation + 1) * math.sqrt(two_ln2))
    sigma_v = (
        math.tan(math.pi / (2 * ORIENTATIONS))
        * (top - two_ln2 * sigma_u**2 / top)
        / math.sqrt(two_ln2 - (two_ln2 * sigma_u / top) ** 2)
    )
    sigma_x = 1 / (2 * math.pi * sigma_u)
    sigma_y = 1 / (2 * math.pi * sigma_v)

    shrink = dilation**-scale
    radius = math.ceil(SUPPORT_SIGMAS * max(sigma_x, sigma_y) / shrink)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    theta = orientation * math.pi / ORIENTATIONS
    along = shrink * (x * math.cos(theta) + y * math.sin(theta))
    across = shrink * (-x * math.sin(theta) + y * math.cos(theta))
    envelope = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    kernel = shrink / (2 * math.pi * sigma_x * sigma_y) * envelope
    kernel = kernel * np.exp(2j * math.pi * top * along)
    return kernel - kernel.real.mean()


#: On the CPU a batch's maps should stay near the cores; a GPU wants more to do at a time.
_BATCH = {"numpy": 4, "torch": 4, "cuda": 32}
_MOST_RESPONSES = 1 << 24  # of a batch: 64 MiB of float32


class GaborBank:
    """48 channels: scale by scale from the finest, orientation by orientation, real then imaginary.

    Each response map is as large as the warped image. Beyond its border the image goes on as its
    own mirror image (OpenCV's BORDER_REFLECT): the coarsest kernels are 91 pixels wide, so that at
    the default size of 64 pixels no position is free of the border. That size suits small images,
    which hold no more detail; a larger one may suit photographs.
    """

    name = "gabor"
    weights_checksum = ""

    def __init__(self, resize: int, resolution: int | None, backend: str = "numpy") -> None:
        """`backend`: "numpy", "torch" or "cuda". Raises InputError if it cannot be had."""
        if resize < MIN_RESIZE:
            raise InputError(
                f"the gabor bank needs --resize of at least {MIN_RESIZE}, got {resize}"
            )
        self.backend = backend
        self.resize = resize
        self.resolution = resolution
        self.crop = resize
        channels = 2 * SCALES * ORIENTATIONS
        most = _MOST_RESPONSES // (channels * resize * resize)
        self.batch = max(1, min(_BATCH[backend], most))
        self.layers: tuple[Layer, ...] = (Layer("gabor", channels, resize * resize, 1 / channels),)
        # 0 to 90 degrees; the others are their mirror images
        quarter = range(ORIENTATIONS // 2 + 1)
        kernels = [[gabor_kernel(scale, angle) for angle in quarter] for scale in range(SCALES)]
        self._filters = make_filters(kernels, resize, backend)

    def responses(self, images: np.ndarray) -> list[np.ndarray]:
        """Return [N x 48 x resize**2 float32] for N x resize x resize x 3 uint8 BGR images."""
        return in_fixed_batches(images, self.batch, self._filter)

    def device_responses(self, images: np.ndarray) -> list[Any]:
        """See bank.TorchBank; by the backend numpy, an array."""
        # BT.601 luma, 0..255
        grey = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images])
        # No response depends on the brightness; so a plain image's are zero and no rounding errors.
        grey = grey.astype(np.float32)
        maps = self._filters(grey - grey[:, :1, :1])
        return [maps.reshape(len(images), -1, self.resize * self.resize)]

    def _filter(self, images: np.ndarray) -> list[np.ndarray]:
        (maps,) = self.device_responses(images)
        return [maps if self.backend == "numpy" else maps.cpu().numpy()]
