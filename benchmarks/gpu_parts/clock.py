"""Times of what torch computes."""

from __future__ import annotations

import time
from typing import Any, Callable

import torch


def wait() -> None:
    """Wait until the GPU, if there is one, has done all that it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def best_seconds(work: Callable[[], Any], turns: int = 5, inner: int = 3) -> float:
    """Return the least time that `work` took of some turns, after one that does not count."""
    work()
    wait()
    taken = []
    for _ in range(turns):
        begin = time.perf_counter()
        for _ in range(inner):
            work()
        wait()
        taken.append((time.perf_counter() - begin) / inner)
    return min(taken)
