"""From entries to Datum records, in order, by as many processes as are wanted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import cv2

from sjft.errors import InputError
from sjft.parent_death import die_with_parent
from sjft_tools.image_files import Storage, stored_image
from sjft_tools.image_lmdb_writer import encoded_datum
from sjft_tools.image_sets import Entry
from sjft_tools.image_sets.reading import read_content

#: Images that a worker is given at a time.
_CHUNK = 16
#: Chunks per worker that are being made or wait to be written: what bounds the memory.
_AHEAD = 4
#: With fewer images than this, starting workers takes longer than they save.
_WORTH_WORKERS = 200


class Prepared(NamedTuple):
    """A Datum's bytes, or why there are none."""

    value: bytes
    label: int
    problem: str


def prepare(entry: Entry, storage: Storage) -> Prepared:
    """Read one image and return its record; depends on nothing else, so it can run anywhere."""
    try:
        stored = stored_image(read_content(entry), entry.path, storage)
    except InputError as error:
        return Prepared(b"", entry.label, str(error))
    value = encoded_datum(stored.content, entry.label, stored.height, stored.width)
    return Prepared(value, entry.label, "")


def prepared_in_order(
    entries: Sequence[Entry], storage: Storage, workers: int
) -> Generator[Prepared, None, None]:
    """Yield what prepare() makes of each of `entries`, in their order, for any number of `workers`.

    Raises InputError if a worker process dies.
    """
    if workers == 1 or len(entries) < _WORTH_WORKERS:
        for entry in entries:
            yield prepare(entry, storage)
        return
    chunks = (entries[i : i + _CHUNK] for i in range(0, len(entries), _CHUNK))
    pending: deque[Future[list[Prepared]]] = deque()
    pool = ProcessPoolExecutor(
        workers,
        # not forked: this process has an LMDB open, and may have threads
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_settle,
        initargs=(os.getpid(),),
    )
    try:
        for chunk in chunks:
            with _without_interrupts():
                pending.append(pool.submit(_prepare_all, chunk, storage))
            if len(pending) == _AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        raise InputError(
            f"one of the {workers} worker processes died, perhaps for want of memory: give fewer "
            f"--workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_all(entries: Sequence[Entry], storage: Storage) -> list[Prepared]:
    return [prepare(entry, storage) for entry in entries]


def _settle(parent: int) -> None:
    die_with_parent(parent)
    cv2.setNumThreads(0)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let workers that start in this block leave signals to this process: they inherit the mask.

    One that a signal ends while it sends a result would be waited for in vain: the executor goes on
    reading what does not come.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
