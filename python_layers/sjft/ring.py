"""Anonymous shared memory for finished batches, passed between processes by fork.

An anonymous mapping has no name in any file system: when the last process that holds it is gone,
however it went, nothing is left.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np

from sjft.errors import InputError

_ALIGNMENT = 64  # a cache line: rows of two arrays never share one


def batch_bytes(tops: Mapping[str, tuple[int, ...]]) -> int:
    """Return the bytes that one batch of float32 arrays of these shapes takes in a ring."""
    return sum(_aligned_bytes(shape) for shape in tops.values())


def affordable_depth(tops: Mapping[str, tuple[int, ...]], depth: int, max_bytes: int) -> int:
    """Return how many batches, at most `depth`, fit in `max_bytes`.

    Raises InputError if not even one does.
    """
    each = batch_bytes(tops)
    if each > max_bytes:
        raise InputError(
            f"one batch takes {-(-each >> 20)} MiB of memory, more than 'prefetch_mb' "
            f"{max_bytes >> 20}: expected a prefetch_mb of at least that, or a smaller batch_size "
            f"or crop"
        )
    return min(depth, max_bytes // each)


def _aligned_bytes(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length  # Python integers: no overflow on absurd sizes
    return -(-4 * count // _ALIGNMENT) * _ALIGNMENT


class Ring:
    """`depth` slots, each with room for one batch; batch number b lies in slot b modulo depth."""

    def __init__(self, tops: Mapping[str, tuple[int, ...]], depth: int) -> None:
        """`tops`: the shape of each float32 array of a batch, by name."""
        self.depth = depth
        # released when the last view is: closing it by hand would fail while views exist
        size = depth * batch_bytes(tops)
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
                count = int(np.prod(shape))
                slot[name] = np.frombuffer(memory, np.float32, count, offset).reshape(shape)
                offset += _aligned_bytes(shape)
            self._slots.append(slot)

    def slot(self, batch: int) -> dict[str, np.ndarray]:
        """Return the arrays, by name, of the slot in which batch number `batch` lies."""
        return self._slots[batch % self.depth]
