"""What a step's command prints, kept in a file: of a progress bar a line a minute, and its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque

BAR_INTERVAL_S = 60.0
LAST_LINES = 10


class StepLog:
    """Appends to the file `path`, behind a line that says when which command began.

    `last_lines`: the last ones of this command, as they were printed.
    """

    def __init__(self, path: str, command: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = b""
        self._bar_written = time.monotonic()
        self._put(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} $ {command}\n".encode())

    def write(self, piece: bytes) -> None:
        """Take in what the command has printed next."""
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(_shown(line))
        # of a bar, which is drawn over itself, the last two states: the last may be incomplete
        self._rest = b"\r".join(rest.split(b"\r")[-2:])
        if b"\r" in self._rest and time.monotonic() - self._bar_written >= BAR_INTERVAL_S:
            self._put(_shown(self._rest) + b"\n")
            self._bar_written = time.monotonic()

    def close(self, end: str) -> None:
        """Write what is left, and `end`, how the command ended."""
        if self._rest:
            self._line(_shown(self._rest))
        self._put(f"# {end}\n".encode())
        os.close(self._file)
        self._file = -1  # what is written yet finds no file

    def _line(self, line: bytes) -> None:
        self.last_lines.append(line.decode(errors="replace"))
        self._put(line + b"\n")

    def _put(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk ends the step, where it does, not its log
            os.write(self._file, line)


def _shown(line: bytes) -> bytes:
    """Return what a terminal shows of a line: what was drawn last, if it was drawn over."""
    states = [state for state in line.split(b"\r") if state.strip()]
    return states[-1].rstrip() if states else b""
