"""One run at a time in a run folder; a run that was killed has ended when its commands have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator

from sjft.errors import InputError
from sjft_tools import file_lock

LOCK = "lock"
PATIENCE_S = 60.0
_POLL_S = 0.1


@contextlib.contextmanager
def run_lock(folder: str) -> Iterator[int]:
    """Hold the lock of the run folder `folder`; yield its descriptor, to be passed on to commands.

    They hold it too, so that after a kill the next run waits for the command that is still ending.
    Raises InputError if it does not within PATIENCE_S, or if there are no locks.
    """
    path = os.path.join(folder, LOCK)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        _wait_for(descriptor, path, folder)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: str, folder: str) -> None:
    start, said = time.monotonic(), False
    while True:
        try:
            return file_lock.lock(descriptor, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        if time.monotonic() - start > PATIENCE_S:
            raise InputError(f"another run is going on in {folder}: wait for it to end")
        if not said:
            print(f"waiting for an earlier run in {folder} to end", file=sys.stderr, flush=True)
            said = True
        time.sleep(_POLL_S)
