"""The demo's target: scikit-learn's handwritten digits, a few per class to train on.

The set (UCI "Optical Recognition of Handwritten Digits", test part) holds 1,797 images of 8 x 8
cells in 0..16: how many of a cell's 4 x 4 pixels are ink.
"""

from __future__ import annotations

import cv2
import numpy as np

from sjft.errors import InputError
from sjft.randomness import permutation

CELL_MAX = 16
SIZE = 32
CLASS_NAMES = [f"digit_{i}" for i in range(10)]


def enlarge(cells: np.ndarray) -> np.ndarray:
    """Return N x c x c ink counts in 0..16 as grey images, N x 32 x 32 uint8, cubic in between.

    Digits and glyphs both go through here, so that enlarging cannot tell target from source.
    """
    grey = cells.astype(np.float32) * (255.0 / CELL_MAX)
    out = np.empty((len(cells), SIZE, SIZE), np.uint8)
    for i, image in enumerate(grey):
        big = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        out[i] = np.clip(np.rint(big), 0, 255)
    return out


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Return all digits, N x 32 x 32 uint8 (white ink), and their labels, int64 in 0..9."""
    from sklearn.datasets import load_digits  # slow to import, and only the demo needs it

    digits = load_digits()
    return enlarge(digits.images), digits.target.astype(np.int64)


def split(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose `per_class` images of each class for training, the rest for testing.

    `labels`: int (N,). Returns the positions of both, int64, ascending. Raises InputError when a
    class would have no image left to test on.
    """
    smallest = int(np.bincount(labels).min())
    if not 1 <= per_class < smallest:
        raise InputError(
            f"--per-class is {per_class}; expected 1 to {smallest - 1}, for the smallest class has"
            f" {smallest} images and at least one must be left for testing"
        )
    order = permutation(len(labels), seed, "demo few-shot choice")
    chosen = [order[labels[order] == c][:per_class] for c in np.unique(labels)]
    train = np.sort(np.concatenate(chosen))
    return train, np.setdiff1d(np.arange(len(labels)), train)
