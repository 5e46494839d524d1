"""Files that grow during a run, and that a full disk delays but does not spoil."""

from __future__ import annotations

import contextlib
import os

_LONGEST_DELAY_BYTES = 16 << 20


class PatientFile:
    """Appends to a file at once; what cannot be written is tried again with what follows.

    Training does not end because its log cannot be written: `trouble` says what is wrong, None
    while all is well.
    """

    def __init__(self, path: str, append: bool) -> None:
        """Open `path`, emptied unless `append`. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC)
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self._waiting = b""
        self.path = path
        self.trouble: str | None = None

    def write(self, text: bytes) -> None:
        """Append `text`, after what had to wait."""
        self._waiting += text
        try:
            while self._waiting:
                written = os.write(self._descriptor, self._waiting)
                self._waiting = self._waiting[written:]
            self.trouble = None
        except OSError as error:
            self.trouble = error.strerror
            self._waiting = self._waiting[:_LONGEST_DELAY_BYTES]

    def sync(self) -> None:
        """Bring to the disk what was written, as far as it takes it."""
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Try a last time, and close."""
        self.write(b"")
        os.close(self._descriptor)
