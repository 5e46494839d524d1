"""Standard output and errors that a run does not wait for.

Whoever writes to a terminal that was stopped by Ctrl-S, or to a pipe or connection whose other end
nobody reads, waits, for weeks if need be. So a thread writes for the run, which goes on without it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import sys
import threading
import time

#: How much may wait for its turn.
_ROOM = 1 << 16
_PIECE = 1 << 10
_POLL_S = 0.2
#: An outlet that takes nothing for that long has stalled.
PATIENCE_S = 10.0


class Outlet:
    """Writes to a descriptor in the background, and drops what comes while it has stalled.

    Once it takes something again, a line tells how much is missing. Where nobody can take anything
    any more, as behind a terminal that was closed, all is dropped.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` stays open."""
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._dropped = 0
        self._closed = self._stalled = False
        self._moved = time.monotonic()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, piece: bytes) -> None:
        """Take `piece`, at once where there is room for it or none can be expected."""
        with self._changed:
            self._wait_for_room(_ROOM - len(piece))
            if self._closed:
                return
            if self._stalled and (self._dropped or len(self._waiting) + len(piece) > _ROOM):
                self._dropped += len(piece)
                return
            if self._dropped:
                self._waiting += f"\n[{self._dropped} bytes were not shown]\n".encode()
                self._dropped = 0
            if not self._waiting:
                self._moved = time.monotonic()
            self._waiting += piece
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self) -> bool:
        """Wait until all is written, or the outlet stalls; return whether it takes more."""
        with self._changed:
            self._wait_for_room(0)
            if self._waiting or self._closed:
                return False
        with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_WRITE)
            return bool(selector.select(0))
        return True  # a file

    def abandon(self) -> None:
        """Let nothing that this process still writes to the descriptor reach it, or wait."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)

    def _wait_for_room(self, most: int) -> None:
        """Wait until at most `most` bytes are waiting, the outlet has stalled, or is closed."""
        while len(self._waiting) > max(0, most) and not self._closed and not self._stalled:
            left = self._moved + PATIENCE_S - time.monotonic()
            self._stalled = left <= 0
            self._changed.wait(max(0.0, left))

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                piece = bytes(self._waiting[:_PIECE])
            try:
                written = os.write(self._descriptor, piece)
            except BlockingIOError:
                time.sleep(_POLL_S)
                continue
            except OSError:
                self.abandon()
                continue
            with self._changed:
                del self._waiting[:written]
                self._moved, self._stalled = time.monotonic(), False
                self._changed.notify_all()


@functools.cache
def outlet(descriptor: int) -> Outlet:
    """Return the one outlet of a descriptor of this process: 1 or 2."""
    return Outlet(descriptor)


def say(text: str) -> None:
    """Print a line, as long as somebody takes it: a run outlives its terminal."""
    try:
        sys.stdout.flush()  # what others have printed
    except OSError:
        outlet(1).abandon()
    outlet(1).write(f"{text}\n".encode(errors="backslashreplace"))
    outlet(1).settle()


def let_go() -> None:
    """Do without whichever of standard output and errors takes nothing, so that no exit waits."""
    for descriptor in (1, 2):
        if not outlet(descriptor).settle():
            outlet(descriptor).abandon()
