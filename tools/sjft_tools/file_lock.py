"""Locks on files (`flock`), which end with the process that holds them, on any machine."""

from __future__ import annotations

import fcntl
import os

from sjft.errors import InputError


def lock(descriptor: int, path: str, kind: int) -> None:
    """Lock the open file `path`: fcntl.flock with `kind`.

    Raises BlockingIOError if another process holds it and `kind` says not to wait; InputError if
    the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be locked ({error.strerror}): expected a file system with locks, as "
            f"Lustre is when mounted with -o flock"
        ) from None


def hold(path: str, kind: int = fcntl.LOCK_EX, flags: int = 0) -> int:
    """Return a descriptor that holds the lock of the file `path`, which is made if need be.

    `kind`: fcntl.LOCK_EX or LOCK_SH; `flags`: more of os.open's. Raises FileNotFoundError if its
    folder is not there or whoever held it has removed the file just now; else as lock() and os.open
    do, without waiting.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | flags, 0o666)
    try:
        lock(descriptor, path, kind | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
            raise FileNotFoundError(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
