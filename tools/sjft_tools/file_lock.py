"""Locks on files (`flock`), which end with the process that holds them, on any machine."""

from __future__ import annotations

import fcntl

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
