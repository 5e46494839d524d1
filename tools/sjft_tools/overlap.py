"""Doing the same to many items in several threads, with the results in the items' order."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, TypeVar

import sjft.cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use: OMP_NUM_THREADS if set, as BLAS takes it."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return sjft.cores.cores()


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """Yield function(item) of each item, in order, reckoned in `threads` threads.

    At most `threads` + `ahead` items are begun whose results have not been taken. An exception in
    `function` is raised where its result would have been yielded. No thread is left running after
    the last result, an exception, or a generator that is closed early.
    """
    waiting: collections.deque[Future[Result]] = collections.deque()
    with ThreadPoolExecutor(threads, "sjft") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == threads + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
