"""Sharing numpy and compiled work among threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Callable

from sjft_tools.overlap import cores


def in_parts(work: Callable[[int, int], Any], n: int, part: int) -> None:
    """Call work(start, stop) for 0..n-1 cut into parts of `part`, in cores() threads.

    `work` must give up Python's lock to gain from it. Its exception is raised here.
    """
    starts = range(0, n, part)
    if cores() == 1 or len(starts) < 2:
        for start in starts:
            work(start, min(start + part, n))
        return
    pool = _pool(cores(), os.getpid())
    for done in [pool.submit(work, start, min(start + part, n)) for start in starts]:
        done.result()


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked one does not inherit its parent's."""
    return ThreadPoolExecutor(threads)
