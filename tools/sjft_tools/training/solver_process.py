"""A process that trains: ``python -m sjft_tools.training.solver_process``, started by the launcher.

Caffe ends the process it runs in when it cannot go on, and while it computes no Python thread runs:
that is why the progress is shown, and the log kept, by another process. Its standard error is the
log.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import traceback
from typing import Any

from sjft.errors import InputError
from sjft.parent_death import die_with_parent
from sjft.resume import read_schedule, start_at
from sjft_tools.pycaffe import import_caffe
from sjft_tools.training.job import Job, Reports
from sjft_tools.training.labels import check_labels
from sjft_tools.training.several_gpus import join, take_rank
from sjft_tools.training.snapshot_files import IncompleteError, copy_state, read_model, read_state
from sjft_tools.training.snapshots import (
    STATE,
    Diverged,
    Shape,
    TrainingFailed,
    choose,
    complete_state,
    free_bytes,
    mib,
    shape_of,
)
from sjft_tools.training.table import NetOutputs
from sjft_tools.training.watch import Stopped, StopRequest, Watch

_LISTED = 5


def main() -> None:
    """Train what standard input says."""
    line = sys.stdin.readline()
    if not line:
        return  # the launcher is gone
    job = Job.from_line(line)
    die_with_parent(job.launcher)
    faulthandler.enable()
    reports, stop = Reports(int(sys.argv[1])), StopRequest()
    try:
        train(job, reports, stop)
    except Exception as error:
        _report_failure(error, reports)
        sys.exit(1)


def _report_failure(error: Exception, reports: Reports) -> None:
    """Report the error that is being handled."""
    printed = getattr(sys, "last_value", None)
    if isinstance(error, SystemError) and isinstance(printed, Exception):
        error = printed  # Caffe prints what making a layer raised, and loses it
    if isinstance(error, InputError):
        reports.failed(2, str(error))
    elif isinstance(error, Diverged):
        reports.diverged(str(error))
    elif isinstance(error, TrainingFailed):
        reports.failed(1, str(error))
    else:
        traceback.print_exc()
        reports.failed(1, f"{type(error).__name__}: {error}")


def train(job: Job, reports: Reports, stop: StopRequest) -> None:
    """Train. Raises InputError, TrainingFailed, or what a Python layer raises."""
    caffe = import_caffe()
    if job.gpus:
        caffe.set_device(job.gpus[job.rank])
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    if len(job.gpus) > 1:
        take_rank(caffe, job)
    solver = caffe.get_solver(job.solver)
    check_labels(solver, job.solver)
    shape = shape_of(solver, job.with_gradients)
    snapshot = _restore(solver, job, shape, reports)
    if snapshot is None:
        _load(solver, job, shape, reports)
    nccl = join(caffe, solver, job, reports) if len(job.gpus) > 1 else None
    if job.rank == 0:
        _lead(solver, job, shape, snapshot, reports, stop)
    else:
        solver.step(job.max_iter - solver.iter)
        reports.finished()
    del nccl  # it had to live until here


def _lead(
    solver: Any, job: Job, shape: Shape, snapshot: str | None, reports: Reports, stop: StopRequest
) -> None:
    """Run the solver that shows, tests and takes snapshots."""
    room = free_bytes(os.path.dirname(job.prefix) or ".")
    if room < shape.bytes_needed:
        reports.notice(
            f"warning: a snapshot takes about {mib(shape.bytes_needed)}, but only {mib(room)} are "
            f"free where {job.prefix}_iter_N.caffemodel will be"
        )
    for path in job.superseded:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    reports.started(solver.iter, snapshot, _outputs(solver))
    watch = Watch(solver, job, shape, reports, stop)
    try:
        solver.solve()
        watch.between()
    except Stopped:
        reports.stopped(stop.number)
    except Exception as error:
        if not watch.in_data_layer:
            raise
        _report_failure(error, reports)  # first: the snapshot may fail as well
        try:
            watch.save()
        except TrainingFailed as failure:
            reports.notice(str(failure))
        sys.exit(1)
    else:
        reports.finished()


def _restore(solver: Any, job: Job, shape: Shape, reports: Reports) -> str | None:
    """Bring the solver to where the newest complete snapshot was taken; return its path."""
    if job.must_resume:
        path = job.snapshots[0]
        try:
            state = complete_state(path, shape)
        except IncompleteError as error:
            raise InputError(f"the snapshot {error}: expected a complete one") from None
    else:
        chosen = choose(job.snapshots, shape, lambda text: _pass_over(text, job, reports))
        if chosen is None:
            return None
        path, state = chosen
    if read_state(path).learned_net == state.learned_net:
        solver.restore(path)
    else:  # Caffe finds the model by the name in the state
        renamed = f"{job.working_prefix}_{job.rank}{STATE}"
        copy_state(path, renamed, state.learned_net)
        solver.restore(renamed)
        os.remove(renamed)
    start_at(solver, read_schedule(job.solver))
    return path


def _pass_over(text: str, job: Job, reports: Reports) -> None:
    if job.rank == 0:
        reports.notice(f"the snapshot {text}: passed over")


def _load(solver: Any, job: Job, shape: Shape, reports: Reports) -> None:
    """Load weights into all nets, and say which layers of the train net they leave as they were."""
    found: set[str] = set()
    for path in job.weights:
        solver.net.copy_from(path)
        for net in solver.test_nets:
            net.copy_from(path)
        if not path.endswith(".h5"):
            found.update(name for name, sizes in read_model(path).layers if sizes)
    if not job.weights or any(path.endswith(".h5") for path in job.weights) or job.rank:
        return
    wanted = [name for name, sizes in shape.layers if sizes]
    fresh = [name for name in wanted if name not in found]
    if fresh == wanted:
        raise InputError(
            f"{' and '.join(job.weights)} has no layer of the net: expected one by the name of "
            f"{', '.join(map(repr, wanted[:_LISTED]))}"
        )
    if fresh:
        more = f" and {len(fresh) - _LISTED} more" if len(fresh) > _LISTED else ""
        reports.notice(
            f"{len(wanted) - len(fresh)} of {len(wanted)} layers with weights start from "
            f"{', '.join(job.weights)}; anew: {', '.join(map(repr, fresh[:_LISTED]))}{more}"
        )


def _outputs(solver: Any) -> NetOutputs:
    """Return the outputs of the solver's nets, in the order in which Caffe displays them."""
    nets = [
        [(name, int(net.blobs[name].count)) for name in net.outputs]
        for net in (solver.net, *solver.test_nets)
    ]
    return NetOutputs(nets[0], nets[1:])


if __name__ == "__main__":
    main()
