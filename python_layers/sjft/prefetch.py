"""Batches made ahead of need by worker processes.

Threads cannot do it: under ``caffe train`` no Python thread runs while the net computes. Each
worker has a queue of batch numbers (a socket pair) and writes batches into shared memory.
A batch depends on its number alone, so a worker that was killed is replaced and its batches are
computed again, bit for bit. The parent does its bookkeeping only while it asks for a batch.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import time
import weakref
from collections.abc import Mapping

import numpy as np

from sjft.bad_images import BadImages
from sjft.batches import Batches
from sjft.errors import InputError
from sjft.layer_params import PrefetchParams
from sjft.log import say
from sjft.nursery import Nursery, NurseryEnded
from sjft.ring import Ring, affordable_depth
from sjft.worker import BAD_INPUT, DONE
from sjft.worker_handle import Reply, WorkerError, WorkerHandle

#: A batch on which so many workers in turn have died is given up.
MAX_DEATHS_PER_BATCH = 3
#: So often a worker that there is no room for is tried to be started, a pause apart.
ATTEMPTS_TO_START = 3
_PAUSE_S = 0.5
_POLL_S = 1.0


class BatchStream:
    """The batches of a layer, one after another. This one computes them where it is asked.

    `workers`: how many processes make them ahead.
    """

    workers = 0

    def __init__(self, batches: Batches, first: int, bad_images: BadImages) -> None:
        """`first` is the number of the first batch that next_into gives.

        `bad_images` takes in the images for which others stand in.
        """
        self._batches = batches
        self._next = first
        self._bad_images = bad_images

    def next_into(self, out: Mapping[str, np.ndarray]) -> float:
        """Write the next batch into `out`, float32 arrays by top name.

        Returns the seconds that it took until the batch was there to be copied.
        """
        start = time.monotonic()
        self._bad_images.note(self._batches.fill(self._next, out))
        self._next += 1
        return time.monotonic() - start

    def start_at(self, batch: int) -> None:
        """Make batch number `batch` the next one."""
        self._next = batch

    def close(self) -> None:
        """End what runs on behalf of the stream."""


def open_stream(batches: Batches, params: PrefetchParams, first: int = 0) -> BatchStream:
    """Return the stream of `batches` from number `first` on, made ahead as `params` says.

    Raises InputError if not even one batch fits within the bound on memory.
    """
    depth = affordable_depth(batches.tops, params.depth, params.max_bytes, batches.means)
    bad_images = BadImages(params.max_bad_images)
    if params.workers == 0:
        return BatchStream(batches, first, bad_images)
    workers = min(params.workers, depth)
    return PrefetchedStream(batches, first, bad_images, workers, depth, params.timeout_s)


class PrefetchedStream(BatchStream):
    """Batches computed by `workers` processes, at most `depth` of them ahead."""

    def __init__(
        self,
        batches: Batches,
        first: int,
        bad_images: BadImages,
        workers: int,
        depth: int,
        timeout_s: float,
    ) -> None:
        super().__init__(batches, first, bad_images)
        self.workers = workers
        self._owner = os.getpid()
        self._timeout_s = timeout_s
        self._ring = Ring(batches.tops, depth, batches.means)
        self._done: dict[int, list[str]] = {}  # finished batches, and what is said of bad images
        self._failed: dict[int, Exception] = {}
        self._deaths: dict[int, int] = {}
        handles = [WorkerHandle(number) for number in range(workers)]
        self._nursery = self._new_nursery()
        self._workers = handles
        _open_streams.add(self)
        self.start_at(first)

    def start_at(self, batch: int) -> None:
        """Make batch number `batch` the next one: see BatchStream.

        Raises WorkerError if the workers cannot be started; the stream is closed then.
        """
        self._next = batch
        for record in (self._done, self._failed, self._deaths):
            record.clear()
        try:
            for worker in self._workers:
                worker.end()
                worker.jobs.clear()
                self._start(worker)
        except Exception:
            self.close()
            raise
        for ahead in range(batch, batch + self._ring.depth):
            self._hand_out(ahead)

    def next_into(self, out: Mapping[str, np.ndarray]) -> float:
        """Copy the next batch into `out`; wait for it if need be. Returns the seconds waited.

        Raises InputError for a bad image, WorkerError if workers fail, or die or exceed the timeout
        repeatedly. After an error the stream is closed.
        """
        batch, start = self._next, time.monotonic()
        try:
            if not self._workers:
                raise WorkerError(f"batch {batch} was asked for after the workers had ended")
            self._wait_for(batch)
            if batch in self._failed:
                raise self._failed[batch]
            self._bad_images.note(self._done.pop(batch))
        except Exception:
            self.close()
            raise
        waited_s = time.monotonic() - start
        self._batches.copy_into(out, self._ring.slot(batch))
        self._deaths.pop(batch, None)
        self._next += 1
        self._hand_out(batch + self._ring.depth)
        return waited_s

    def close(self) -> None:
        """Kill the workers, which hold nothing that could be lost, and wait for their end."""
        if os.getpid() != self._owner:
            return  # in a forked child the workers are not ours
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()
        if workers:
            self._nursery.close()

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self.close()

    def _new_nursery(self) -> Nursery:
        sockets = [socket for stream in _open_streams for socket in stream._sockets()]
        try:
            return Nursery(self._batches, self._ring, sockets)
        except OSError as error:
            raise _no_room("the nursery of workers", error) from None

    def _sockets(self) -> list[socket.socket]:
        started = [worker.socket for worker in self._workers if worker.is_started]
        return [self._nursery.control, *started] if self._workers else []

    def _start(self, worker: WorkerHandle) -> None:
        for attempt in range(ATTEMPTS_TO_START):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                worker.start(self._nursery)
                return
            except NurseryEnded:
                failure = _no_room(f"worker {worker.number}", OSError(0, "its nursery ended"))
                say("the nursery of workers has ended; a new one takes its place")
                self._nursery.close()
                self._nursery = self._new_nursery()
            except OSError as error:
                failure = _no_room(f"worker {worker.number}", error)
        raise failure

    def _hand_out(self, batch: int) -> None:
        min(self._workers, key=lambda worker: len(worker.jobs)).give(batch)

    def _wait_for(self, batch: int) -> None:
        waited = 0.0
        while batch not in self._done and batch not in self._failed:
            poll = select.poll()
            by_socket = {worker.socket.fileno(): worker for worker in self._workers}
            for descriptor in by_socket:
                poll.register(descriptor, select.POLLIN)
            patience = min(_POLL_S, max(0.0, self._timeout_s - waited))
            before = time.monotonic()
            ready = poll.poll(1000 * patience)
            # a process that was stopped (Ctrl-Z) and goes on has not waited all that time
            waited += min(time.monotonic() - before, 2 * _POLL_S)
            for descriptor, _ in ready:
                worker = by_socket[descriptor]
                replies = worker.replies()
                if replies is None:
                    self._replace(worker)
                else:
                    self._note(worker, replies)
            if not ready and waited >= self._timeout_s:
                self._end_stuck(batch)
                waited = 0.0

    def _note(self, worker: WorkerHandle, replies: list[Reply]) -> None:
        for batch, outcome, text in replies:
            if outcome == DONE:
                self._done[batch] = json.loads(text)
            elif outcome == BAD_INPUT:
                self._failed[batch] = InputError(text)
            else:
                self._failed[batch] = WorkerError(f"{worker} failed on batch {batch}:\n{text}")

    def _replace(self, worker: WorkerHandle) -> None:
        obituary = worker.obituary()
        self._count_death(worker, obituary, worker.last_words())
        self._start(worker)

    def _end_stuck(self, batch: int) -> None:
        """Replace the worker that has not finished `batch` in time."""
        worker = next(w for w in self._workers if batch in w.jobs)
        what = f"{worker} did not finish within 'timeout_s' {self._timeout_s:g} s"
        words = worker.last_words()
        worker.end()
        self._count_death(worker, what, words)
        self._start(worker)

    def _count_death(self, worker: WorkerHandle, what: str, words: str) -> None:
        """Say `what` has become of a worker; raise WorkerError if it is one too many at a batch."""
        at = f"at batch {worker.jobs[0]}" if worker.jobs else "while idle"
        if worker.jobs:
            batch = worker.jobs[0]
            self._deaths[batch] = self._deaths.get(batch, 0) + 1
            if self._deaths[batch] == MAX_DEATHS_PER_BATCH:
                raise WorkerError(
                    f"{MAX_DEATHS_PER_BATCH} workers in turn failed {at}; the last, {what}{words}"
                )
        say(f"{what} {at}; a new one takes its place{words}")


def _no_room(what: str, error: OSError) -> WorkerError:
    return WorkerError(
        f"{what} could not be started ({error.strerror}): expected room for another process, or "
        f"fewer 'workers'"
    )


_open_streams: weakref.WeakSet[PrefetchedStream] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for stream in list(_open_streams):
        stream.close()
