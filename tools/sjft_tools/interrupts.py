"""Ctrl-C and SIGTERM while processes are being started."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Let processes that start in this block leave signals to this one: they inherit the mask.

    So do those that a thread starts which starts in this block, whenever that is. The mask is that
    of one thread, and this process has others: a signal that comes meanwhile is put off until the
    block ends, or a process that has not all it needs to start would die in its own words.
    """
    resource_tracker.ensure_running()  # by start() otherwise, which would unblock the signals
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)
