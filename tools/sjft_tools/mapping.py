"""From entries to Datum records, in order, by as many processes as are wanted."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

import cv2

from sjft.errors import InputError
from sjft.parent_death import die_with_parent
from sjft_tools.image_files import Storage, stored_image
from sjft_tools.image_lmdb_writer import encoded_datum
from sjft_tools.image_sets import Entry
from sjft_tools.image_sets.reading import read_content
from sjft_tools.interrupts import put_off

#: Images that a worker is given at a time.
_CHUNK = 16
#: Chunks per worker that are being made or wait to be written: what bounds the memory. Requests for
#: so many fit in a pipe's buffer, so that giving one never waits.
_AHEAD = 2
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
    chunks = [entries[i : i + _CHUNK] for i in range(0, len(entries), _CHUNK)]
    ahead = _AHEAD * workers
    team: list[_Worker] = []
    try:
        for number, chunk in enumerate(chunks):
            if len(team) < workers:
                team.append(_Worker(storage))
            if number >= ahead:
                yield from team[number % workers].take()
            team[number % workers].give(chunk)
        for number in range(max(0, len(chunks) - ahead), len(chunks)):
            yield from team[number % workers].take()
    except _WorkerDied:
        raise InputError(
            f"one of the {workers} worker processes died, perhaps for want of memory: give fewer "
            f"--workers"
        ) from None
    finally:
        for worker in team:
            worker.end()


class _WorkerDied(Exception):
    """A worker ended that was not told to."""


class _Worker:
    """A process that prepares chunks of entries in turn.

    It has a pipe of its own, whose other end nobody else holds: whenever it dies, in the middle of
    an answer too, reading ends. (A ProcessPoolExecutor would wait for the rest of the answer.)
    """

    def __init__(self, storage: Storage) -> None:
        # not forked: this process has an LMDB open, and may have threads
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, storage, os.getpid()))
        try:
            with put_off():
                self._process.start()
            theirs.close()
        except BaseException:  # a signal that came meanwhile: nobody else would end the process
            if self._process.pid is not None:
                self.end()
            raise

    def give(self, entries: Sequence[Entry]) -> None:
        """Have `entries` prepared. Raises _WorkerDied."""
        try:
            self._pipe.send(entries)
        except OSError:
            raise _WorkerDied from None

    def take(self) -> list[Prepared]:
        """Wait for the oldest entries given and return what became of them. Raises _WorkerDied."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise _WorkerDied from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """Kill the process, which holds nothing that could be lost."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, storage: Storage, parent: int) -> None:
    die_with_parent(parent)
    cv2.setNumThreads(0)
    while True:
        try:
            entries = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send([prepare(entry, storage) for entry in entries])
        except Exception as error:
            pipe.send(error)
