"""For the tests of faults: batches that fail, the workers to kill, LMDBs to write into."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from processes import run
from sjft.batches import Batches
from sjft.errors import InputError
from sjft.layer_params import PrefetchParams
from sjft.prefetch import BatchStream, PrefetchedStream
from whole_batches import blank


class Numbers(Batches):
    """Batches that say their own number; `trouble` happens in the process that computes `at`.

    Not as long as the first byte of `waits`, which all processes share, is set.
    """

    def __init__(self, trouble: str = "", at: int = -1) -> None:
        self.tops = {"data": (3, 1000), "labels": (5,)}
        self._trouble = trouble
        self._at = at
        self.waits = mmap.mmap(-1, 1)

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
        if batch == self._at:
            while self.waits[0]:
                time.sleep(0.01)
            if self._trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self._trouble == "crash":
                ctypes.string_at(0)
            elif self._trouble == "hang":
                time.sleep(1000)
            elif self._trouble == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif self._trouble == "input":
                raise InputError("image 7 of some_lmdb cannot be decoded")
            elif self._trouble == "bug":
                raise ZeroDivisionError("deep down")
        out["data"][...] = batch
        out["labels"][...] = -batch
        return []


def params(workers: int, depth: int = 4, timeout_s: float = 20) -> PrefetchParams:
    return PrefetchParams(workers, depth, 1 << 20, timeout_s)


def take(stream: BatchStream, batches: Batches) -> dict[str, np.ndarray]:
    out = blank(batches)
    stream.next_into(out)
    return out


def workers_of(stream: object) -> list[int]:
    """The process ids of a stream's workers."""
    assert isinstance(stream, PrefetchedStream)
    return [worker._pid for worker in stream._workers]


def exists(pid: int) -> bool:
    """Whether there is a process, be it one that has ended and is still to be reaped."""
    return Path(f"/proc/{pid}").exists()


def put(path: str, key: str, size: int = 11) -> None:
    """Write a record into an LMDB, from another process: this one may have it open."""
    program = (
        "import lmdb, sys; env = lmdb.open(sys.argv[1], map_size=1 << 28)\n"
        "with env.begin(write=True) as transaction: "
        "assert transaction.put(sys.argv[2].encode(), bytes(int(sys.argv[3])))"
    )
    run(sys.executable, "-c", program, path, key, size)
