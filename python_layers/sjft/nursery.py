"""The nursery of a stream: a small process from which all its workers are forked.

Training rewrites its memory all the time. A worker forked in the middle of it would keep the pages
of that moment for itself, gigabytes of them beside a large net. So the workers, and those that take
their place hours later, are forked from a process that was itself forked when the layer was set up
and has only waited since.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from functools import partial

from sjft.batches import Batches
from sjft.forking import fork_child, wait_readable
from sjft.ring import Ring
from sjft.worker import serve

#: To the nursery: what is wanted, and of which process.
_REQUEST = struct.Struct("<Bq")
_FORK, _REAP = range(2)
#: From the nursery: a process id or status; a negative error number, or _NOT_ENDED.
_ANSWER = struct.Struct("<q")
_NOT_ENDED = -(1 << 32)

_TIME_TO_END_S = 5.0
_TIME_TO_ANSWER_S = 30.0


class NurseryEnded(Exception):
    """The nursery does not answer: it was killed, or is stuck."""


class Nursery:
    """The parent's end of the nursery; `control` is the socket to it."""

    def __init__(self, batches: Batches, ring: Ring, others: list[socket.socket]) -> None:
        """`others`: sockets of this process that the nursery must not keep open.

        Raises OSError if there is no room for the process.
        """
        self.control, theirs = socket.socketpair()
        self.control.settimeout(_TIME_TO_ANSWER_S)
        with theirs:
            main = partial(_nurse, batches, ring, theirs, [*others, self.control])
            self._pid = fork_child(main)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def fork_worker(self, theirs: socket.socket, words: int) -> int:
        """Fork a worker with the socket `theirs` and the descriptor `words`; return its process id.

        Raises OSError if there is no room for the process, NurseryEnded.
        """
        answer = self._ask(_FORK, 0, [theirs.fileno(), words])
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return answer

    def reap(self, pid: int) -> int | None:
        """Wait for the end of a worker that ends; return its status, None if it cannot be had."""
        with contextlib.suppress(NurseryEnded):
            status = self._ask(_REAP, pid, [])
            return None if status == _NOT_ENDED else status
        return None

    def close(self) -> None:
        """End the workers and the nursery, and wait for their end."""
        self.control.close()
        if _status_in_time(self._pid) == _NOT_ENDED:
            with contextlib.suppress(ProcessLookupError):  # this process may ignore SIGCHLD
                os.kill(self._pid, signal.SIGKILL)
            _status_in_time(self._pid)

    def _ask(self, request: int, pid: int, descriptors: list[int]) -> int:
        try:
            message = _REQUEST.pack(request, pid)
            if descriptors:
                socket.send_fds(self.control, [message], descriptors)
            else:
                self.control.sendall(message)
            answer = self.control.recv(_ANSWER.size, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        if len(answer) < _ANSWER.size:
            self.control.close()  # an answer that comes late would be taken for the next one's
            raise NurseryEnded
        return _ANSWER.unpack(answer)[0]


def _status_in_time(pid: int) -> int:
    """Return the status of a child that ends, _NOT_ENDED if it does not or cannot be waited for."""
    deadline = time.monotonic() + _TIME_TO_END_S
    with contextlib.suppress(ChildProcessError):
        # a process that waits for a file server may outlive even SIGKILL
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.001)
    return _NOT_ENDED


def _nurse(
    batches: Batches, ring: Ring, control: socket.socket, others: list[socket.socket]
) -> None:
    """Fork and reap workers as the parent asks, until it closes its socket."""
    for other in others:
        other.close()
    workers: set[int] = set()
    while True:
        wait_readable(control)
        message, descriptors, _, _ = socket.recv_fds(control, _REQUEST.size, 2)
        if not message:
            break
        request, pid = _REQUEST.unpack(message)
        if request == _FORK:
            answer = _fork_worker(batches, ring, control, descriptors)
            workers.add(answer)
        else:
            answer = _status_in_time(pid)
            workers.discard(pid)
        control.sendall(_ANSWER.pack(answer))
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    for worker in workers:
        _status_in_time(worker)
    os._exit(0)


def _fork_worker(
    batches: Batches, ring: Ring, control: socket.socket, descriptors: list[int]
) -> int:
    """Fork a worker that gets the two `descriptors`; return its id, or a negative error number."""
    own, words = socket.socket(fileno=descriptors[0]), descriptors[1]

    def main() -> None:
        control.close()
        serve(batches, ring, own, words)

    try:
        return fork_child(main)
    except OSError as error:
        return -(error.errno or 1)
    finally:
        own.close()
        os.close(words)
