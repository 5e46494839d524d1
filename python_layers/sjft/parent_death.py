"""Processes that must not outlive the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # looked up before any fork: the loader's lock may be held during one


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Arrange for this process to be sent `by` when `parent`, which has just started it, ends.

    Ends this process at once if the parent has ended already. The kernel's signal, which only Linux
    knows, is about the parent's thread that started this process: it should be the main one.
    """
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)
