"""A worker process: computes batches into shared memory until its parent wants no more.

It is forked from a process that may hold Caffe, a CUDA context and BLAS threads, and touches none
of them. It leaves by os._exit, so that nothing of the parent's is finalised twice, and it never
outlives the parent: the kernel kills it, or it finds the socket closed or its parent's id changed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import select
import signal
import socket
import struct
import threading
import traceback
from typing import IO

import cv2

from sjft.batches import Batches
from sjft.errors import InputError
from sjft.ring import Ring

#: Parent to worker: a batch number.
JOB = struct.Struct("<q")
#: Worker to parent: batch number, outcome, length of the UTF-8 text that follows: a JSON list of
#: sentences about bad images for DONE, the error otherwise.
REPLY = struct.Struct("<qBI")
DONE, BAD_INPUT, FAILED = range(3)

#: The terminal's signals go to all its processes, and are for the parent to judge.
_IGNORED = (signal.SIGINT, signal.SIGHUP)
#: Caffe may have installed glog's handlers for these.
_DEFAULTED = (signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE)

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_MS = 1000
_LIBC = ctypes.CDLL(None)  # looked up before the fork: the loader's lock may be held during one


def fork_worker(
    batches: Batches, ring: Ring, own: socket.socket, others: list[socket.socket], words: IO[bytes]
) -> int:
    """Fork a worker that serves the jobs read from `own`; return its process id.

    `others` are sockets of the parent that the worker must not keep open; `words` is an open file
    for what the worker's interpreter says when it crashes.
    """
    parent = os.getpid()
    # PR_SET_PDEATHSIG is about the thread that forks: only the main thread lives as long as the
    # process does.
    by_main_thread = threading.get_native_id() == parent
    # blocked until the child has settled how it takes them
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        pid = os.fork()
        if pid:
            return pid
        try:
            _settle(parent, by_main_thread, words)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for other in others:
                other.close()
            _serve(batches, ring, own, parent)
        except ConnectionError:
            pass  # the parent is gone
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _settle(parent: int, by_main_thread: bool, words: IO[bytes]) -> None:
    gc.freeze()  # the parent's garbage is not this process's to collect
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.disable()
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    faulthandler.enable(words)
    faulthandler.register(signal.SIGUSR1, words)
    if by_main_thread and hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    cv2.setNumThreads(0)


def _serve(batches: Batches, ring: Ring, own: socket.socket, parent: int) -> None:
    while True:
        batch = _next_job(own, parent)
        outcome = DONE
        try:
            text = json.dumps(batches.fill(batch, ring.slot(batch)))
        except InputError as error:
            outcome, text = BAD_INPUT, str(error)
        except Exception:
            outcome, text = FAILED, traceback.format_exc()
        encoded = text.encode()
        own.sendall(REPLY.pack(batch, outcome, len(encoded)) + encoded)


def _next_job(own: socket.socket, parent: int) -> int:
    waiting = select.poll()
    waiting.register(own, select.POLLIN)
    while not waiting.poll(_PARENT_CHECK_MS):
        if os.getppid() != parent:
            os._exit(0)
    job = b""
    while len(job) < JOB.size:
        piece = own.recv(JOB.size - len(job))
        if not piece:
            os._exit(0)
        job += piece
    return JOB.unpack(job)[0]
