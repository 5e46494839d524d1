"""One process per GPU: Caffe's processes find each other and add up their gradients by NCCL.

NCCL's part has not been run yet: there was no machine with several GPUs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from sjft_tools.training.job import Job, Reports

_ID_BYTES = 128


def take_rank(caffe: Any, job: Job) -> None:
    """Tell Caffe, before a solver is made, which of how many processes this one is."""
    caffe.set_solver_count(len(job.gpus))
    caffe.set_solver_rank(job.rank)
    caffe.set_multiprocess(True)


def join(caffe: Any, solver: Any, job: Job, reports: Reports) -> Any:
    """Let `solver` train with those of the other processes; return what must live as long.

    All start with rank 0's weights.
    """
    nccl = caffe.NCCL(solver, exchange_id(job, reports, _new_id))
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return nccl


def exchange_id(job: Job, reports: Reports, new_id: Callable[[], bytes]) -> bytes:
    """Return the id by which the processes find each other, the same in all of them.

    Rank 0 makes it by `new_id`; the launcher hands it to the others.
    """
    if job.rank == 0:
        own = new_id()
        reports.nccl_id(own.hex())
        return own
    line = sys.stdin.readline()
    if not line:
        raise BrokenPipeError("the launcher is gone")
    return bytes.fromhex(line)


def _new_id() -> bytes:
    """Return a new id, from the library that Caffe is linked to.

    caffe.NCCL.new_uid() cuts it off at its first zero byte (BVLC/caffe#6661).
    """
    buffer = ctypes.create_string_buffer(_ID_BYTES)
    status = ctypes.CDLL("libnccl.so.2").ncclGetUniqueId(buffer)
    if status != 0:
        raise RuntimeError(f"NCCL has no id for this run: ncclGetUniqueId gave status {status}")
    return buffer.raw
