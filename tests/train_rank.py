"""A process of a run on two GPUs as far as it needs none: its rank, the id, its share of an epoch.

The launcher starts it in place of the process that trains. It writes what it got to rank_N.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import caffe
from sjft.parent_death import die_with_parent
from sjft_tools.training.job import Job, Reports
from sjft_tools.training.several_gpus import exchange_id, take_rank
from sjft_tools.training.table import NetOutputs

#: As long as NCCL's, with what pycaffe's own way would cut off.
ID = bytes([7, 0, 10, 13, 255]) + bytes(123)
_BATCHES = 14


def main() -> None:
    """Do as the launcher says."""
    job = Job.from_line(sys.stdin.readline())
    die_with_parent(job.launcher)
    reports = Reports(int(sys.argv[1]))
    caffe.set_mode_cpu()
    take_rank(caffe, job)
    solver = caffe.get_solver(job.solver)
    nccl_id = exchange_id(job, reports, lambda: ID)
    if job.rank == 0:
        reports.started(0, None, NetOutputs([], []))
        Path("started").touch()
    elif os.path.exists("rank_1_fails"):
        while not os.path.exists("started"):  # and the launcher knows
            time.sleep(0.01)
        reports.failed(1, "rank 1 failed")
        sys.exit(1)
    targets = []
    for _ in range(_BATCHES):
        solver.net.forward()
        targets += solver.net.blobs["target_index"].data.astype(int).tolist()
    partial = Path(f"rank_{job.rank}.partial")
    partial.write_text(json.dumps({"id": nccl_id.hex(), "targets": targets}))
    partial.rename(f"rank_{job.rank}.json")
    while not os.path.exists("rank_1.json"):  # the others are ended with rank 0
        time.sleep(0.01)
    reports.finished()


if __name__ == "__main__":
    main()
