"""A folder for the files of Dask: what a killed run leaves of it, the next run removes."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

from sjft.errors import InputError
from sjft_tools import file_lock

_PREFIX = "sjft_dask_"
_LOCK = "lock"


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a new folder among the system's temporary ones, locked while this process lives.

    Raises InputError if nothing can be locked there.
    """
    _remove_stale()
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        try:
            lock = _lock(path)
        except InputError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        if lock is not None:
            break  # and not taken for a stale one by another run that has just started
    try:
        yield path
    finally:
        _remove(path, lock)


def _remove_stale() -> None:
    for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{_PREFIX}*")):
        with contextlib.suppress(InputError):
            lock = _lock(path)
            if lock is not None:
                _remove(path, lock)


def _remove(path: str, lock: int) -> None:
    os.close(lock)  # NFS keeps an open file's folder
    shutil.rmtree(path, ignore_errors=True)


def _lock(path: str) -> int | None:
    """Return a descriptor that holds the lock of a folder; None if another process holds it.

    None, too, if it is gone or another user's.
    """
    try:
        if os.lstat(path).st_uid != os.getuid():
            return None
        return file_lock.hold(os.path.join(path, _LOCK), flags=os.O_NOFOLLOW)
    except OSError:
        return None
