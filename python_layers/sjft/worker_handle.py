"""The parent's end of a worker process: starting it, its queue of jobs, its replies, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections import deque
from typing import BinaryIO, NamedTuple

from sjft.nursery import Nursery
from sjft.worker import JOB, REPLY

_LAST_WORDS_BYTES = 4000
_TIME_TO_SPEAK_S = 1.0
_POLL_S = 0.02
#: What ends a traceback as far as it is of interest: the worker's own loop, worker.serve.
_OWN_LOOP = " in serve\n"


class WorkerError(RuntimeError):
    """A worker process failed, died again and again, or did not answer in time."""


def _nameless_file() -> BinaryIO:
    """Return a file that vanishes with the last process that holds it."""
    with contextlib.suppress(AttributeError, OSError):  # other systems, and Linux before 3.17
        # needs no folder for temporary files, which may be full or read-only
        return open(os.memfd_create("last words of a worker"), "w+b")
    return tempfile.TemporaryFile()


class Reply(NamedTuple):
    """What a worker says of a batch: one of worker.DONE, BAD_INPUT, FAILED, and the text of it."""

    batch: int
    outcome: int
    text: str


class WorkerHandle:
    """One worker, and those that take its place when it dies.

    `number` counts the workers of a stream from 0; `jobs` are the batch numbers that it was given
    and has not finished, in order; `socket` becomes readable when it replies or dies.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.jobs: deque[int] = deque()
        self.socket: socket.socket
        self._nursery: Nursery
        self._pid = 0
        self._received = bytearray()
        self._words = _nameless_file()

    def __str__(self) -> str:
        return f"worker {self.number} (process {self._pid})"

    @property
    def is_started(self) -> bool:
        """Whether there is a process that was not seen to end."""
        return self._pid != 0

    def start(self, nursery: Nursery) -> None:
        """Let `nursery` fork the process, and send it the jobs that are still to be done.

        Raises OSError if the system has no room for it, NurseryEnded.
        """
        ours, theirs = socket.socketpair()
        self._received.clear()
        self._words.seek(0)
        self._words.truncate()
        with theirs:
            try:
                self._pid = nursery.fork_worker(theirs, self._words.fileno())
            except BaseException:
                ours.close()
                raise
        self.socket, self._nursery = ours, nursery
        for batch in self.jobs:
            self._send(batch)

    def give(self, batch: int) -> None:
        """Add batch number `batch` to its jobs."""
        self.jobs.append(batch)
        self._send(batch)

    def _send(self, batch: int) -> None:
        # a dead worker is noticed, and its jobs are given to its successor, at the next wait
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(JOB.pack(batch))

    def replies(self) -> list[Reply] | None:
        """Return the replies that have arrived, None if the worker is dead. Call when readable."""
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return None
        self._received += piece
        replies = []
        while len(self._received) >= REPLY.size:
            batch, outcome, length = REPLY.unpack_from(self._received)
            end = REPLY.size + length
            if len(self._received) < end:
                break
            text = self._received[REPLY.size : end].decode(errors="surrogateescape")
            replies.append(Reply(batch, outcome, text))
            del self._received[:end]
            self.jobs.remove(batch)
        return replies

    def obituary(self) -> str:
        """Wait for the end of the process, whose socket is closed; say in words how it ended."""
        name, status = str(self), self._nursery.reap(self._pid)
        self._pid = 0
        self.socket.close()
        if status is None:
            return f"{name} ended for an unknown reason"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            known = {each.value: each.name for each in signal.Signals}
            return f"{name} was killed by signal {number} ({known.get(number, 'without a name')})"
        return f"{name} ended with status {os.WEXITSTATUS(status)}"

    def end(self) -> None:
        """Kill the process, which holds nothing that could be lost; its jobs remain."""
        if self.is_started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.obituary()

    def last_words(self) -> str:
        """Return where its interpreter said it was when it crashed or was asked, "" if nowhere."""
        if self.is_started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGUSR1)
                deadline = time.monotonic() + _TIME_TO_SPEAK_S
                while _OWN_LOOP not in self._said() and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
        before, found, _ = self._said().partition(_OWN_LOOP)  # innermost call first
        text = before.rpartition("\n")[0] if found else before.strip()
        return f"; its last words:\n{text}" if text else ""

    def _said(self) -> str:
        # read without moving the place at which the worker writes
        return os.pread(self._words.fileno(), _LAST_WORDS_BYTES, 0).decode(errors="replace")

    def close(self) -> None:
        """End the process for good."""
        self.end()
        self._words.close()
