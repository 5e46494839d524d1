"""The first pass over all pairs of targets and sources: a float32 matrix product.

It finds the pairs that may lie within the targets' limits: all of those that do, and few more.
Which more depends on its rounding; exact distances decide afterwards.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Protocol

import numpy as np

from sjft.errors import InputError
from sjft_tools.distance import Distance
from sjft_tools.matching.rounding import Arithmetic
from sjft_tools.torch_memory import gpu_memory
from sjft_tools.torch_precision import allow_tensor_float_32

#: Sources that a CPU takes at a time: enough for BLAS to run at its full rate.
SOURCE_BLOCK = 1024


class Pairs(Protocol):
    """The pairs of given targets with whatever sources come: counts, S x dimensions."""

    #: Sources at a time, and threads that ask side by side, by which it is fastest. Its answers do
    #: not depend on them.
    block: int
    at_once: int

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

    def host_memory(
        self, targets: int, sources: int, dimensions: int, count_bytes: int
    ) -> dict[str, int]:
        """Return the bytes of the host's memory that matching takes, by what takes them.

        `sources`: as many as are matched in one go, at most; `count_bytes`: of one of a
        descriptor's counts. The targets' counts are left out.
        """


class NumpyProduct:
    """numpy's product, by the BLAS that it is linked with."""

    name = "numpy"

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""
        from sjft_tools.matching.cpu_pairs import CpuPairs

        return CpuPairs(distance, targets, self.add_product)

    def host_memory(
        self, targets: int, sources: int, dimensions: int, count_bytes: int
    ) -> dict[str, int]:
        """Return the bytes of memory that matching takes, by what takes them."""
        return _cpu_memory(targets, dimensions, count_bytes)

    @staticmethod
    def add_product(total: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add sources @ targets.T to `total`: S x n, T x n, S x T float32."""
        total += sources @ targets.T


class TorchProduct:
    """torch's product on the CPU, by MKL where torch is built with it."""

    name = "torch"

    def __init__(self) -> None:
        self._torch = _exact_torch()

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions."""
        from sjft_tools.matching.cpu_pairs import CpuPairs

        return CpuPairs(distance, targets, self.add_product)

    def host_memory(
        self, targets: int, sources: int, dimensions: int, count_bytes: int
    ) -> dict[str, int]:
        """Return the bytes of memory that matching takes, by what takes them."""
        return _cpu_memory(targets, dimensions, count_bytes)

    def add_product(self, total: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add sources @ targets.T to `total`: S x n, T x n, S x T float32."""
        allow_tensor_float_32(False)
        as_tensor = self._torch.from_numpy
        as_tensor(total).addmm_(as_tensor(sources), as_tensor(targets).T)


class DeviceProduct:
    """torch's product, and all else about pairs, on `device`.

    In `arithmetic`, or the device's fastest.
    """

    name = "cuda"

    def __init__(self, device: str = "cuda", arithmetic: Arithmetic | None = None) -> None:
        self._torch = _exact_torch()
        self._device = device
        self._arithmetic = arithmetic

    def load(self, distance: Distance, targets: np.ndarray) -> Pairs:
        """Take in the targets, counts T x dimensions.

        Raises InputError if the device has no room for them.
        """
        from sjft_tools.matching.device_pairs import BYTES, DevicePairs

        sentence = (
            f"{len(targets)} target images need {BYTES * targets.size / 1e9:.1f} GB and some more "
            f"on the GPU, which has not so much free: expected fewer targets at a time, or the "
            f"product torch or numpy"
        )
        with gpu_memory(sentence):
            return DevicePairs(distance, targets, self._device, self._arithmetic)

    def host_memory(
        self, targets: int, sources: int, dimensions: int, count_bytes: int
    ) -> dict[str, int]:
        """Return the bytes of the host's memory that matching takes, by what takes them.

        Raises InputError if CUDA has no room to start on the device.
        """
        from sjft_tools.matching.device_pairs import DevicePairs, best_block

        device, threads = self._torch.device(self._device), DevicePairs.at_once
        sentence = "the GPU has no memory free: expected another, or the product torch or numpy"
        with gpu_memory(sentence):
            block = min(sources, best_block(device, targets, dimensions))
        # each thread's, as many that wait less one, and the next, in pieces and joined
        held = min((2 * threads + 1) * block, sources + block)
        copied = min(threads * block, sources)
        size = dimensions * count_bytes
        return {
            f"{held} sources at a time": held * size,
            f"copies of {copied} for the GPU": copied * size,
        }


def _cpu_memory(targets: int, dimensions: int, count_bytes: int) -> dict[str, int]:
    return {
        # those of merged bins too, and counts cut to a byte
        "their operands": targets * 10 * dimensions,
        f"a block of {SOURCE_BLOCK} sources": SOURCE_BLOCK * dimensions * (2 * count_bytes + 8),
    }


#: What make_product() takes.
NAMES = ("auto", "numpy", "torch", "cuda")


def make_product(name: str = "auto") -> Product:
    """Return the product called `name`; "auto": a GPU's if there is one, or the CPU's fastest.

    Neighbours do not depend on it. Raises InputError where this machine does not have it.
    """
    if name == "numpy":
        return NumpyProduct()
    try:
        torch = _exact_torch()
    except ImportError as error:
        if name == "auto":
            return NumpyProduct()
        raise InputError(f"the product {name} needs torch: pip install torch") from error
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("the product cuda needs a GPU, and torch sees none on this machine")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return DeviceProduct()
    if name == "auto" and _seconds(NumpyProduct.add_product) < _seconds(TorchProduct().add_product):
        return NumpyProduct()
    return TorchProduct()


def _exact_torch() -> Any:
    """Return torch, set to multiply float32 as float32: for that the bound on rounding holds."""
    import torch

    allow_tensor_float_32(False)
    return torch


def _seconds(add_product: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> float:
    """Return the least time that a product took of a few of the size that matching calls for."""
    sources, targets = np.ones((512, 4096), np.float32), np.ones((256, 4096), np.float32)
    total = np.zeros((512, 256), np.float32)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        add_product(total, sources, targets)
        taken.append(time.perf_counter() - start)
    return min(taken)
