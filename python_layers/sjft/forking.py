"""Forking a child from a process that may hold Caffe, a CUDA context and BLAS threads.

The child touches none of them. It leaves by os._exit, so that nothing of the parent's is finalised
twice, and it never outlives the parent: the kernel kills it, or it finds its socket closed or its
parent's id changed.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import socket
import threading
import traceback
import warnings
from typing import Callable

import cv2

from sjft.log import flush_streams
from sjft.parent_death import die_with_parent

#: The terminal's and the batch system's signals go to all processes of a job, and are for the one
#: that trains to judge.
_IGNORED = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGXCPU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: Caffe may have installed glog's handlers for these. Who ignores SIGCHLD is not told how a child
#: ended.
_DEFAULTED = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGCHLD)

_PARENT_CHECK_MS = 1000


def fork_child(main: Callable[[], None]) -> int:
    """Fork a process that runs `main` and ends; return its id. Raises OSError without room."""
    parent = os.getpid()
    by_main_thread = threading.get_native_id() == parent
    flush_streams()
    # blocked until the child has settled how it takes them
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        with warnings.catch_warnings():
            # Python warns of forks beside threads; the child is written for that
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            return pid
        try:
            _settle(parent, by_main_thread)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            main()
        except ConnectionError:
            pass  # the parent is gone
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _settle(parent: int, by_main_thread: bool) -> None:
    gc.freeze()  # the parent's garbage is not this process's to collect
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.disable()
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    if by_main_thread:
        die_with_parent(parent)
    cv2.setNumThreads(0)


def wait_readable(own: socket.socket) -> None:
    """Wait until a child's socket to its parent is readable; end the process if the parent ends."""
    parent = os.getppid()
    waiting = select.poll()
    waiting.register(own, select.POLLIN)
    while not waiting.poll(_PARENT_CHECK_MS):
        if os.getppid() != parent:
            os._exit(0)
