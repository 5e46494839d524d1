"""A folder for the files of Dask: what a killed run leaves of it, the next run removes."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

_PREFIX = "sjft_dask_"


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a new folder among the system's temporary ones, locked while this process lives."""
    _remove_stale()
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        lock = _lock(path)
        if lock is not None:
            break  # and not taken for a stale one by another run that has just started
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _remove_stale() -> None:
    for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{_PREFIX}*")):
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _lock(path: str) -> int | None:
    """Return a descriptor that holds the lock of a folder; None if another process holds it.

    None, too, if it is gone or another user's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.getuid() and os.path.samestat(
            os.fstat(descriptor), os.stat(path)
        ):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
