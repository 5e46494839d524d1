"""A worker process: computes batches into shared memory until its parent wants no more."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import struct
import traceback

from sjft.batches import Batches
from sjft.errors import InputError
from sjft.forking import wait_readable
from sjft.ring import Ring

#: To the worker: a batch number.
JOB = struct.Struct("<q")
#: From the worker: batch number, outcome, length of the UTF-8 text that follows: a JSON list of
#: sentences about bad images for DONE, the error otherwise.
REPLY = struct.Struct("<qBI")
DONE, BAD_INPUT, FAILED = range(3)


def serve(batches: Batches, ring: Ring, own: socket.socket, words: int) -> None:
    """Do the jobs that come from the socket `own`, until it is closed.

    `words`: descriptor of a file for what the interpreter says when it crashes or is asked.
    """
    faulthandler.enable(words)
    faulthandler.register(signal.SIGUSR1, words)
    while True:
        batch = _next_job(own)
        outcome = DONE
        try:
            text = json.dumps(batches.fill(batch, ring.slot(batch)))
        except InputError as error:
            outcome, text = BAD_INPUT, str(error)
        except Exception:
            outcome, text = FAILED, traceback.format_exc()
        encoded = text.encode(errors="surrogateescape")  # of a path that is not UTF-8
        own.sendall(REPLY.pack(batch, outcome, len(encoded)) + encoded)


def _next_job(own: socket.socket) -> int:
    wait_readable(own)
    job = b""
    while len(job) < JOB.size:
        piece = own.recv(JOB.size - len(job))
        if not piece:
            os._exit(0)
        job += piece
    return JOB.unpack(job)[0]
