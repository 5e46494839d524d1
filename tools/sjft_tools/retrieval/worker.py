"""What runs in a worker process of a Dask cluster. A process does one shard at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from distributed import Worker, get_worker

from sjft import __version__
from sjft.errors import InputError
from sjft_tools.checksums import array_checksum
from sjft_tools.matching.candidates import Candidates
from sjft_tools.overlap import cores
from sjft_tools.retrieval.engine import Engine
from sjft_tools.retrieval.inputs import Inputs, Paths, open_inputs
from sjft_tools.retrieval.plan import Plan, make_plan
from sjft_tools.retrieval.prepared import OTHERWISE, SAMPLE, read_array
from sjft_tools.retrieval.shard_files import Pass, Stats


class Order(NamedTuple):
    """What a worker is to work by: all paths from the root, the bank's backend by its name.

    `sample`: checksum() of what the process that gives the order computes.
    """

    plan: Plan
    paths: Paths
    product: str
    sample: str


class Targets(NamedTuple):
    """Where the targets' descriptors may be, and their checksum."""

    file: str
    checksum: str


class _Desk(NamedTuple):
    order: Order
    engine: Engine
    targets: dict[str, np.ndarray]


_lock = threading.Lock()
_desks: list[_Desk] = []  # at most one: that of the latest order


def sample_checksum(engine: Engine, targets: int) -> str:
    """Return ``sha256:...`` of a few targets' descriptors and of the distances between them."""
    counts = engine.describe_targets(np.arange(min(SAMPLE, targets)), quiet=True)
    distances = np.stack([engine.distance.exact(counts, one) for one in counts])
    return array_checksum(counts) + array_checksum(distances)


def check(order: Order, dask_worker: Worker) -> None:
    """Raise InputError, naming this worker, unless it can do the shards of `order`.

    Client.run() gives functions with a parameter of that name the worker they run in.
    """
    with _lock, _named(dask_worker):
        _desk(order)


def do_shard(order: Order, targets: Targets, of: Pass, shard: int) -> tuple[Candidates, Stats]:
    """Return a shard's candidates and stats. Raises InputError as check() does."""
    with _lock, _named(get_worker()):
        desk = _desk(order)
        if targets.checksum not in desk.targets:
            desk.targets.clear()
            desk.targets[targets.checksum] = _find(desk, targets)
        counts = desk.targets[targets.checksum]
        return desk.engine.shard(shard, of, counts, lambda sentence: None, lambda number: None)


def _find(desk: _Desk, targets: Targets) -> np.ndarray:
    """Return the targets' descriptors from the work folder, or describe them if it is not seen."""
    counts = read_array(targets.file, targets.checksum)
    if counts is None:
        counts = desk.engine.describe_targets(quiet=True)
        if array_checksum(counts) != targets.checksum:
            raise InputError(_OTHERWISE)
    return counts


_OTHERWISE = (
    f"computes other descriptors or distances than the process that gives the orders: {OTHERWISE}"
)


def _desk(order: Order) -> _Desk:
    if not _desks or _desks[0].order != order:
        _desks.clear()
        _limit_threads()
        inputs = _open(order)
        engine = Engine(inputs, order.plan, order.product)
        if sample_checksum(engine, order.plan.targets) != order.sample:
            raise InputError(_OTHERWISE)
        _desks.append(_Desk(order, engine, {}))
    return _desks[0]


def _open(order: Order) -> Inputs:
    if order.plan.sjft_version != __version__:
        raise InputError(
            f"has sjft {__version__}: expected version {order.plan.sjft_version}, as everywhere"
        )
    try:
        inputs = open_inputs(order.paths, order.plan.k, {})
    except InputError as error:
        raise InputError(f"cannot use its inputs: {error}") from None
    difference = order.plan.difference(make_plan(inputs, order.plan.k, order.plan.shard_size))
    if difference:
        raise InputError(f"sees another {difference} than the process that gives the orders")
    return inputs


@contextlib.contextmanager
def _named(worker: Worker) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"the Dask worker {worker.address} ({worker.name}) {error}") from None


def _limit_threads() -> None:
    """Let torch and numba use as many threads as OMP_NUM_THREADS says that BLAS may use.

    Dask starts workers with 1 unless the variable is set. cores(), by which descriptors are
    computed, goes by it too.
    """
    threads = cores()
    with contextlib.suppress(ImportError):
        import numba

        numba.set_num_threads(min(threads, numba.get_num_threads()))
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
