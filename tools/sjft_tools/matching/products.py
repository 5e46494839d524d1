"""The first pass over all pairs of targets and sources: a float32 matrix product.

It finds the pairs that may lie within the targets' limits: all of those that do, and few more.
Which more depends on its rounding; exact distances decide afterwards.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sjft_tools.distance import Distance


class Pairs(Protocol):
    """The pairs of given targets with whatever sources come: counts, S x dimensions."""

    def within(self, sources: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and the sources, int64 (n,) each, of pairs that may be within limits.

        `limits`: float64 (T,). Every pair whose exact distance is at most its target's limit is
        among them.
        """

    def upper_bounds(self, sources: np.ndarray) -> np.ndarray:
        """Return for each pair what its exact distance does not exceed: S x T float32."""

    def exact(self, sources: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the exact distance of each pair (target rows[i], source columns[i]): float64."""


class Product(Protocol):
    """A library that multiplies matrices."""

    name: str

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""


class NumpyProduct:
    """numpy's product, by the BLAS that it is linked with."""

    name = "numpy"

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""
        from sjft_tools.matching.cpu_pairs import CpuPairs

        return CpuPairs(distance, targets, _add_product)


def _add_product(total: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> None:
    total += sources @ targets.T


class TorchProduct:
    """torch's product on the CPU, by MKL where torch is built with it."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        # The bound on rounding is float32's, not that of what "high" takes instead.
        torch.set_float32_matmul_precision("highest")
        self._torch = torch

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""
        from sjft_tools.matching.cpu_pairs import CpuPairs

        return CpuPairs(distance, targets, self._add_product)

    def _add_product(self, total: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> None:
        as_tensor = self._torch.from_numpy
        as_tensor(total).addmm_(as_tensor(sources), as_tensor(targets).T)


NAMES = ("auto", "numpy", "torch")


def make_product(name: str = "auto") -> Product:
    """Return the product called `name`; "auto" takes the fastest that this machine has."""
    if name == "numpy":
        return NumpyProduct()
    try:
        return TorchProduct()
    except ImportError:
        if name != "auto":
            raise
        return NumpyProduct()
