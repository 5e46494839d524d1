"""The demo's useless source images: textures without a stroke, 16 classes of them.

Every texture is computed for a whole class at once, N x 32 x 32, as a function of the pixel's place
and of per-image uniforms, then given a random contrast and brightness.
"""

from __future__ import annotations

from typing import Callable

import cv2
import numpy as np

from sjft.randomness import uniform
from sjft_tools.demo.digits import SIZE


class Canvas:
    """What a texture is painted with: pixel coordinates in -1..1 and uniforms, per image."""

    def __init__(self, count: int, seed: int, number: int) -> None:
        axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
        self.x = axis[None, None, :]
        self.y = axis[None, :, None]
        self.count, self._seed, self._number, self._draws = count, seed, number, 0

    def pick(self, low: float, high: float) -> np.ndarray:
        """Return a uniform draw from low..high for each image, N x 1 x 1."""
        return low + (high - low) * self._uniform(self.count).reshape(-1, 1, 1)

    def noise(self, cells: int = SIZE) -> np.ndarray:
        """Return independent uniforms in -1..1, N x cells x cells."""
        return 2 * self._uniform(self.count * cells * cells).reshape(-1, cells, cells) - 1

    def smooth(self, cells: int, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
        """Return noise of cells x cells values stretched over the image, N x 32 x 32."""
        size = (SIZE, SIZE)
        return np.stack(
            [cv2.resize(n, size, interpolation=interpolation) for n in self.noise(cells)]
        )

    def turned(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y turned by an angle drawn from low..high degrees, N x 32 x 32 each."""
        angle = np.deg2rad(self.pick(low, high))
        return (
            np.cos(angle) * self.x + np.sin(angle) * self.y,
            np.cos(angle) * self.y - np.sin(angle) * self.x,
        )

    def _uniform(self, size: int) -> np.ndarray:
        self._draws += 1
        return uniform(self._seed, "demo textures", self._number, self._draws, size=size)


def _grating(low: float, high: float) -> Callable[[Canvas], np.ndarray]:
    def paint(c: Canvas) -> np.ndarray:
        across, _ = c.turned(low, high)
        return np.sin(2 * np.pi * (c.pick(1.5, 6) * across + c.pick(0, 1)))

    return paint


def _checkerboard(low: float, high: float) -> Callable[[Canvas], np.ndarray]:
    def paint(c: Canvas) -> np.ndarray:
        across, down = c.turned(low, high)
        pitch = np.pi * c.pick(2, 6)
        return np.sign(np.sin(pitch * across + c.pick(0, 6)) * np.sin(pitch * down + c.pick(0, 6)))

    return paint


def _plaid(c: Canvas) -> np.ndarray:
    first, second = c.turned(0, 180)
    return np.sin(c.pick(6, 20) * first) + np.sin(c.pick(6, 20) * second)


def _radius(c: Canvas) -> np.ndarray:
    return np.hypot(c.x - c.pick(-0.6, 0.6), c.y - c.pick(-0.6, 0.6))


def _rings(c: Canvas) -> np.ndarray:
    return np.sin(c.pick(10, 25) * _radius(c))


def _blobs(c: Canvas) -> np.ndarray:
    spots = [
        np.exp(-((c.x - c.pick(-1, 1)) ** 2 + (c.y - c.pick(-1, 1)) ** 2) / c.pick(0.01, 0.08))
        for _ in range(6)
    ]
    return np.sum(spots, axis=0)


def _dots(c: Canvas) -> np.ndarray:
    across, down = c.turned(0, 90)
    pitch = c.pick(8, 20)
    return np.maximum(np.sin(pitch * across), 0) * np.maximum(np.sin(pitch * down), 0)


def _specks(c: Canvas) -> np.ndarray:
    return (c.noise() > 0.85).astype(np.float64)


def _rays(c: Canvas) -> np.ndarray:
    angle = np.arctan2(c.y - c.pick(-0.5, 0.5), c.x - c.pick(-0.5, 0.5))
    return np.sin(np.floor(c.pick(5, 14)) * angle + c.pick(0, 6))


TEXTURES: dict[str, Callable[[Canvas], np.ndarray]] = {
    "texture_noise_white": lambda c: c.noise(),
    "texture_noise_fine": lambda c: c.smooth(16),
    "texture_noise_coarse": lambda c: c.smooth(6),
    "texture_patches": lambda c: c.smooth(8, cv2.INTER_NEAREST),
    "texture_grating_upright": _grating(-15, 15),
    "texture_grating_slanted": _grating(30, 60),
    "texture_grating_level": _grating(75, 105),
    "texture_checkerboard": _checkerboard(-10, 10),
    "texture_diamonds": _checkerboard(35, 55),
    "texture_plaid": _plaid,
    "texture_gradient": _radius,
    "texture_rings": _rings,
    "texture_blobs": _blobs,
    "texture_dots": _dots,
    "texture_specks": _specks,
    "texture_rays": _rays,
}
CLASS_NAMES = list(TEXTURES)


def paint_textures(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return textures, N x 32 x 32 uint8, and labels, int64, `per_class` of each class."""
    images = []
    for number, paint in enumerate(TEXTURES.values()):
        canvas = Canvas(per_class, seed, number)
        value = np.broadcast_to(paint(canvas), (per_class, SIZE, SIZE))
        low, high = value.min((1, 2), keepdims=True), value.max((1, 2), keepdims=True)
        contrast = canvas.pick(0.5, 1.0)
        dark = canvas.pick(0.0, 1.0) * (1 - contrast)
        shade = dark + contrast * (value - low) / np.maximum(high - low, 1e-9)
        images.append(np.rint(255 * shade).astype(np.uint8))
    return np.concatenate(images), np.repeat(np.arange(len(TEXTURES)), per_class)
