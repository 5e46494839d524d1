"""The hidden folder beside a run's snapshots in which they are made, and the lock on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import NamedTuple

from sjft.errors import InputError
from sjft_tools import file_lock

_LOCK = "lock"
#: A run that was killed may take a while to vanish from memory.
_PATIENCE_S = 10.0
_POLL_S = 0.1


class Workplace(NamedTuple):
    """`folder` for unfinished files; `lock`, a descriptor that processes of the run inherit."""

    folder: str
    lock: int

    def file(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.folder, name)

    def clean(self) -> None:
        """Remove all files in the folder, as far as they and it are there and can be removed."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if name != _LOCK:
                    with contextlib.suppress(OSError):
                        os.remove(self.file(name))


@contextlib.contextmanager
def workplace(prefix: str) -> Iterator[Workplace]:
    """Hold the workplace of the snapshot_prefix `prefix`, free of what a killed run left there.

    It is gone afterwards. Raises InputError if another run holds it, or if it cannot be made or
    locked.
    """
    parent, name = os.path.split(prefix)
    folder = os.path.join(parent, f".{name}.partial")
    try:
        lock = _locked(folder, prefix)
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be made ({error.strerror}): expected leave to write "
            f"beside the snapshots, and room for their names"
        ) from None
    place = Workplace(folder, lock)
    try:
        place.clean()
        yield place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: str, prefix: str) -> int:
    """Return a descriptor with the lock on `folder`, which is made if need be."""
    deadline = time.monotonic() + _PATIENCE_S
    path = os.path.join(folder, _LOCK)
    while True:
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            # FileNotFoundError: the run that held it removed the folder just now
            return file_lock.hold(path)
        if time.monotonic() > deadline:
            raise InputError(
                f"another run is training with the snapshot_prefix {prefix!r}: wait for it to "
                f"end, or give this one another snapshot_prefix"
            )
        time.sleep(_POLL_S)
