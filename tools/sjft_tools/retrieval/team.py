"""The worker processes of a Dask cluster, local or elsewhere, that do shards."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from sjft.errors import InputError
from sjft_tools.interrupts import put_off
from sjft_tools.matching.candidates import Candidates
from sjft_tools.overlap import cores
from sjft_tools.retrieval.bad_sources import BadSources
from sjft_tools.retrieval.engine import Advance, Engine
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan
from sjft_tools.retrieval.prepared import TARGETS_FILE, Prepared
from sjft_tools.retrieval.request import Request
from sjft_tools.retrieval.scratch import scratch_folder
from sjft_tools.retrieval.shard_files import Pass, ShardFiles, Stats

try:
    import distributed

    from sjft_tools.retrieval import worker
except ImportError as error:
    raise InputError(
        f"--workers and --scheduler need dask.distributed ({error}): install the package "
        f"'distributed'"
    ) from None

#: How long to wait for a scheduler, for its first worker, and for another when all are gone.
_PATIENCE_S = 30.0
#: Shards given out per worker, so that none waits for the next.
_AHEAD = 2


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Turn what Dask raises when the scheduler is gone into InputError."""
    try:
        yield
    except (distributed.CancelledError, distributed.comm.CommClosedError):
        raise InputError(
            "the connection to the Dask scheduler is lost: start it and its workers, then run the "
            "same command again"
        ) from None


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Turn what Dask raises when it cannot reach the scheduler into what it raises when it is gone.

    Not for the work itself, whose files raise OSError too.
    """
    try:
        yield
    except OSError as error:  # the connection to it ended, or none could be made
        raise distributed.comm.CommClosedError from error


class Team:
    """Workers that have been checked; they read the image LMDBs themselves."""

    def __init__(self, client: distributed.Client, order: worker.Order, work: str) -> None:
        self._client = client
        self._order = order
        self._work = work

    @_connected()
    def check(self) -> None:
        """Raise InputError, naming worker and reason, unless all workers can do the work."""
        for sentence in self._ask(_probe_of(self._order.plan.sjft_version)):
            if sentence:
                raise InputError(sentence)
        self._ask(worker.check, self._order)

    @_connected()
    def compute(
        self,
        prepared: Prepared,
        of: Pass,
        shards: Iterable[int],
        files: ShardFiles,
        bad: BadSources,
        advance: Advance,
    ) -> None:
        """Do `shards`, in whatever order workers are free, and write their files.

        A shard of a worker that ended is done by another one. Raises InputError if no worker is
        left, if one lacks what it needs, or if a shard ends one worker after the other.
        """
        targets = worker.Targets(os.path.join(self._work, TARGETS_FILE), prepared.checksum)
        waiting = iter(shards)
        running: dict[distributed.Future, int] = {}
        try:
            while True:
                room = _AHEAD * max(1, self._workers()) - len(running)
                for shard in itertools.islice(waiting, max(0, room)):
                    future = self._client.submit(
                        worker.do_shard, self._order, targets, of, shard, pure=False
                    )
                    running[future] = shard
                if not running:
                    return
                for future in self._next(running):
                    found = _result(future, running[future])
                    if found is None:
                        continue
                    shard, (candidates, stats) = running.pop(future), found
                    files.write(shard, candidates, stats)
                    advance(stats.images + len(stats.bad))
                    for sentence in stats.bad:
                        bad.add(sentence)
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(running))

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call `function` in every worker; return what it returned, raise what it raised there."""
        with _asking():
            answers = self._client.run(function, *arguments, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, OSError):
                raise InputError(
                    f"the Dask worker {address} could not be checked ({answer}): end it or start "
                    f"it anew, then run the same command again"
                )
            if isinstance(answer, Exception):
                raise answer
        return list(answers.values())

    def _workers(self) -> int:
        """Return how many there are now."""
        with _asking():
            return len(self._client.nthreads())

    def _next(self, running: dict[distributed.Future, int]) -> set[distributed.Future]:
        """Wait for shards to be done; raise InputError once there has been no worker for long."""
        alone_since = None
        while True:
            with contextlib.suppress(TimeoutError, distributed.TimeoutError):
                return distributed.wait(list(running), 2, "FIRST_COMPLETED").done
            if self._workers():
                alone_since = None
                continue
            alone_since = alone_since or time.monotonic()
            if time.monotonic() - alone_since > _PATIENCE_S:
                raise InputError(
                    "the Dask scheduler has no worker left: start some, then run the same command "
                    "again"
                )


def _result(future: distributed.Future, shard: int) -> tuple[Candidates, Stats] | None:
    """Return a shard's candidates and stats; None if they went with their worker, to be redone."""
    try:
        return future.result(timeout=_PATIENCE_S)
    except (TimeoutError, distributed.TimeoutError):
        return None
    except distributed.KilledWorker as error:
        raise InputError(
            f"shard {shard} ended one Dask worker after the other ({error}): expected more memory "
            f"for each"
        ) from None


def _probe_of(version: str) -> Any:
    """Return a function that says which worker it runs in and what that lacks, "" if nothing.

    It travels by value, for the worker may have no sjft.
    """

    def probe(dask_worker: Any) -> str:
        import importlib

        who = f"the Dask worker {dask_worker.address} ({dask_worker.name})"
        lacking = []
        for name in ("numpy", "cv2", "lmdb", "google.protobuf", "tqdm", "sjft", "sjft_tools"):
            try:
                importlib.import_module(name)
            except ImportError:
                lacking.append(name)
        if lacking:
            return f"{who} cannot import {', '.join(lacking)}: expected all that sjft needs"
        found = importlib.import_module("sjft").__version__
        if found != version:
            return f"{who} has sjft {found}: expected version {version}, as everywhere"
        return ""

    return probe


@contextlib.contextmanager
def gather(request: Request, inputs: Inputs, plan: Plan, engine: Engine) -> Iterator[Team]:
    """Start local workers or find those of a scheduler, check them, and let them go afterwards.

    Raises InputError if there are none, or if one cannot do the work.
    """
    paths = replace(request.paths.from_root(), backend=plan.backend)
    sample = worker.sample_checksum(engine, plan.targets)
    order = worker.Order(plan, paths, request.product, sample)
    with contextlib.ExitStack() as stack:
        if request.scheduler is not None:
            client = _client_of(request.scheduler, stack)
        else:
            client = _local_client(request.workers or 1, stack)
        team = Team(client, order, os.path.abspath(request.work))
        team.check()
        yield team


def _client_of(address: str, stack: contextlib.ExitStack) -> distributed.Client:
    try:
        client = stack.enter_context(distributed.Client(address, timeout=_PATIENCE_S))
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}): expected the address that 'dask "
            f"scheduler' prints, as tcp://host:8786"
        ) from None
    with _connected(), _asking():
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except (TimeoutError, distributed.TimeoutError):
            raise InputError(
                f"the Dask scheduler at {address} has no workers: start some with 'dask worker "
                f"{address}'"
            ) from None
    return client


def _local_client(workers: int, stack: contextlib.ExitStack) -> distributed.Client:
    """Start `workers` processes on this machine that share its cores evenly."""
    threads = str(max(1, cores() // workers))
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    folder = stack.enter_context(scratch_folder())
    with put_off():
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            silence_logs=logging.CRITICAL,
            memory_limit=0,  # sjft bounds its memory itself
            dashboard_address=None,
            local_directory=folder,
            env=dict.fromkeys(variables, threads),
        )
        stack.enter_context(cluster)
    return stack.enter_context(distributed.Client(cluster))
