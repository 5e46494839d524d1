"""Sources on their way to a device, a GPU: copied once, while it works on what came before."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch


class _Streams(NamedTuple):
    """Where a thread's work goes on a GPU, and where the copies for it."""

    work: torch.cuda.Stream
    copies: torch.cuda.Stream


class _Lane(threading.local):
    """What a thread has of its own: the next of `streams`, None for a CPU, and its last sources."""

    def __init__(self, streams: Iterator[_Streams | None]) -> None:
        self.streams = next(streams)
        self.last: tuple[np.ndarray, torch.Tensor] | None = None


class DeviceSources:
    """Counts, S x dimensions, on `device`: of each thread that asks those that it gave last.

    `threads`: how many ask side by side. All that the device has to do before is done.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self._device = device
        streams: list[_Streams | None] = [None]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            # For no more threads, however many come one after another: torch keeps memory for each.
            each = [torch.cuda.Stream(device) for _ in range(2 * threads)]
            streams = list(map(_Streams, each[::2], each[1::2]))
        self._lane = _Lane(itertools.cycle(streams))

    def stream(self) -> AbstractContextManager[None]:
        """A block whose work on the device goes to the stream of the thread that asks."""
        streams = self._lane.streams
        return torch.cuda.stream(streams and streams.work)

    def by_parts(self, sources: np.ndarray, parts: Sequence[slice]) -> Iterator[torch.Tensor]:
        """Yield the counts of `sources` in each of `parts`, and keep them all on the device.

        `parts`: of the dimensions, none left out. In stream(). From page-locked memory and in a
        stream of their own: so a part is brought while the device still works on the one before.
        """
        lane = self._lane
        if lane.last is not None and lane.last[0] is sources:
            yield from (lane.last[1][:, part] for part in parts)
            return
        lane.last = None  # its memory first
        counts = signed(sources)
        kept = torch.empty(counts.shape, dtype=counts.dtype, device=self._device)
        locked = lane.streams is not None
        for part in parts:
            some = counts[:, part]
            # torch uses this memory again only when it has been copied from
            staged = torch.empty(some.shape, dtype=some.dtype, pin_memory=locked).copy_(some)
            with torch.cuda.stream(lane.streams and lane.streams.copies):
                arriving = staged.to(self._device, non_blocking=True)
            if lane.streams is not None:
                lane.streams.work.wait_stream(lane.streams.copies)
                arriving.record_stream(lane.streams.work)  # nor this before it has been used
            yield kept[:, part].copy_(arriving)
        lane.last = sources, kept

    def whole(self, sources: np.ndarray) -> torch.Tensor:
        """Return the counts of `sources`, in stream(). No copy if by_parts() has just made one."""
        lane = self._lane
        if lane.last is None or lane.last[0] is not sources:
            lane.last = None  # its memory first
            lane.last = sources, signed(sources).to(self._device)
        return lane.last[1]


def signed(counts: np.ndarray) -> torch.Tensor:
    """Return counts as signed integers of their size, which torch can index."""
    return torch.from_numpy(np.ascontiguousarray(counts).view(f"i{counts.dtype.itemsize}"))


def as_index(counts: torch.Tensor, size: int) -> torch.Tensor:
    """Return what signed() took for signed integers as the counts below `size` they are: int64."""
    index = counts.long()
    bits = 8 * counts.element_size()
    return index if size <= 1 << (bits - 1) else index & ((1 << bits) - 1)
