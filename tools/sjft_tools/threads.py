"""Sharing numpy and compiled work among threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Callable


def thread_count() -> int:
    """Return OMP_NUM_THREADS, which BLAS and torch follow too, or the processors there are."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        return len(os.sched_getaffinity(0))


def in_parts(work: Callable[[int, int], Any], n: int, part: int) -> None:
    """Call work(start, stop) for 0..n-1 cut into parts of `part`, in thread_count() threads.

    `work` must give up Python's lock to gain from it. Its exception is raised here.
    """
    starts = range(0, n, part)
    if thread_count() == 1 or len(starts) < 2:
        for start in starts:
            work(start, min(start + part, n))
        return
    pool = _pool(thread_count(), os.getpid())
    for done in [pool.submit(work, start, min(start + part, n)) for start in starts]:
        done.result()


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked one does not inherit its parent's."""
    return ThreadPoolExecutor(threads)
