"""Anonymous shared memory for batches, passed between processes by fork.

An anonymous mapping has no name in any file system: when the last process that holds it is gone,
however it went, nothing is left.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Mapping

import numpy as np

from sjft.errors import InputError

_ALIGNMENT = 64  # a cache line: rows of two arrays never share one


def batch_bytes(tops: Mapping[str, tuple[int, ...]], pixels: Collection[str] = ()) -> int:
    """Return the bytes that one batch of arrays of these shapes takes in a ring.

    They are float32, those named in `pixels` uint8.
    """
    return sum(_aligned_bytes(shape, _item(name, pixels).itemsize) for name, shape in tops.items())


def affordable_depth(
    tops: Mapping[str, tuple[int, ...]], depth: int, max_bytes: int, pixels: Collection[str] = ()
) -> int:
    """Return how many batches, at most `depth`, fit in `max_bytes`: see batch_bytes.

    Raises InputError if not even one does.
    """
    each = batch_bytes(tops, pixels)
    if each > max_bytes:
        raise InputError(
            f"one batch takes {-(-each >> 20)} MiB of memory, more than 'prefetch_mb' "
            f"{max_bytes >> 20}: expected a prefetch_mb of at least that, or a smaller batch_size "
            f"or crop"
        )
    return min(depth, max_bytes // each)


def _item(name: str, pixels: Collection[str]) -> np.dtype:
    return np.dtype(np.uint8 if name in pixels else np.float32)


def _aligned_bytes(shape: tuple[int, ...], item: int) -> int:
    count = item
    for length in shape:
        count *= length  # Python integers: no overflow on absurd sizes
    return -(-count // _ALIGNMENT) * _ALIGNMENT


class Ring:
    """`depth` slots, each with room for one batch; batch number b lies in slot b modulo depth."""

    def __init__(
        self, tops: Mapping[str, tuple[int, ...]], depth: int, pixels: Collection[str] = ()
    ) -> None:
        """`tops`: the shape of each array of a batch, by name; `pixels`: see batch_bytes."""
        self.depth = depth
        # released when the last view is: closing it by hand would fail while views exist
        size = depth * batch_bytes(tops, pixels)
        try:
            memory = mmap.mmap(-1, size)
        except (OSError, OverflowError):
            raise InputError(
                f"the system has no {size >> 20} MiB of memory for {depth} batches: expected a "
                f"smaller prefetch or prefetch_mb"
            ) from None
        self._slots = []
        offset = 0
        for _ in range(depth):
            slot = {}
            for name, shape in tops.items():
                count, item = int(np.prod(shape)), _item(name, pixels)
                slot[name] = np.frombuffer(memory, item, count, offset).reshape(shape)
                offset += _aligned_bytes(shape, item.itemsize)
            self._slots.append(slot)

    def slot(self, batch: int) -> dict[str, np.ndarray]:
        """Return the arrays, by name, of the slot in which batch number `batch` lies."""
        return self._slots[batch % self.depth]
