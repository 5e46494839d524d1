"""One process per GPU: Caffe's processes find each other and add up their gradients by NCCL.

Not run yet: there was no machine with several GPUs.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from sjft_tools.training.job import Job, Reports

_ID_BYTES = 128


def join(caffe: Any, solver: Any, job: Job, reports: Reports) -> Any:
    """Let `solver` train with those of the other processes; return what must live as long.

    Rank 0 makes the id by which they find each other; the launcher hands it to the others. All
    start with rank 0's weights.
    """
    if job.rank == 0:
        nccl_id = _new_id()
        reports.nccl_id(nccl_id.hex())
    else:
        nccl_id = bytes.fromhex(sys.stdin.readline())
    nccl = caffe.NCCL(solver, nccl_id)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    return nccl


def _new_id() -> bytes:
    """Return a new id, from the library that Caffe is linked to.

    caffe.NCCL.new_uid() cuts it off at its first zero byte (BVLC/caffe#6661).
    """
    buffer = ctypes.create_string_buffer(_ID_BYTES)
    status = ctypes.CDLL("libnccl.so.2").ncclGetUniqueId(buffer)
    if status != 0:
        raise RuntimeError(f"NCCL has no id for this run: ncclGetUniqueId gave status {status}")
    return buffer.raw
