"""What happens between the iterations of a solver: snapshots, reports, a look at the loss.

Caffe's solver runs from the first iteration to the last display as under ``caffe train``, and calls
back here at the start of every iteration and of every layer's pass forward. A snapshot in mid-run
waits for the loss of the next iteration, so that none is of weights that have diverged.
"""

from __future__ import annotations

import math
import signal
from functools import partial
from typing import Any

from sjft_tools.training.job import Job, Reports
from sjft_tools.training.snapshots import Diverged, Saver, Shape

#: Requests to end: the terminal's, and those of which batch systems send one or the other before
#: they kill, as at the end of the CPU time (SIGXCPU).
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGXCPU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Stopped(Exception):
    """Training was asked to stop, and did so between two iterations."""


class StopRequest:
    """Becomes true when the process gets a signal that asks it to end.

    Python calls a signal's handler as soon as Caffe next calls into Python.
    """

    def __init__(self) -> None:
        self.number = 0  # the signal's, once one has come
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.number = number

    def __bool__(self) -> bool:
        return bool(self.number)


class Watch:
    """Watches pycaffe's `solver` through its callbacks.

    `in_data_layer`: whether the layer that runs forward, or was the last to, has no bottom. What
    such a layer raises leaves the solver as the last iteration did.
    """

    def __init__(
        self, solver: Any, job: Job, shape: Shape, reports: Reports, stop: StopRequest
    ) -> None:
        self._solver = solver
        self._job = job
        self._reports = reports
        self._stop = stop
        self._saver = Saver(solver, shape, job.prefix, job.working_prefix)
        self._bytes_needed = shape.bytes_needed
        self._seen = self._saved = solver.iter
        net = solver.net
        self._losses = [
            (net._blobs[i], weight) for i, weight in enumerate(net._blob_loss_weights) if weight
        ]
        self._passes = 0
        self._loss_sum = self._loss = 0.0
        self.in_data_layer = False
        solver.add_callback(self._start_iteration, self._end_gradients)
        net.before_forward(partial(self._before_train_layer, _data_layers(net)))
        for test_net in solver.test_nets:
            test_net.before_forward(partial(self._before_test_layer, _data_layers(test_net)))

    def between(self) -> None:
        """Do what is due between two iterations. Raises Stopped, TrainingFailed."""
        done = self._solver.iter
        if done != self._seen:
            self._seen = done
            self._reports.iteration(done, self._loss)
            if self._is_due(done):
                self._write()
        if self._stop:
            self.save()
            raise Stopped
        if self._saver.is_waiting and done >= self._job.max_iter:
            self._publish()

    def save(self) -> None:
        """Take a snapshot of the last iteration if there is none of it. Raises TrainingFailed."""
        if not self._saver.is_waiting and self._seen != self._saved:
            self._write()
        if self._saver.is_waiting:
            self._publish()

    def _is_due(self, done: int) -> bool:
        if self._job.snapshot and done % self._job.snapshot == 0:
            return True
        return done == self._job.max_iter and self._job.snapshot_after_train

    def _write(self) -> None:
        self._reports.saving(self._seen, self._bytes_needed)
        self._saver.write()
        self._reports.written(self._seen)

    def _publish(self) -> None:
        self._saver.publish()
        self._saved = self._seen
        self._reports.saved(self._seen)

    def _start_iteration(self) -> None:
        self.between()
        self._passes, self._loss_sum = 0, 0.0

    def _before_train_layer(self, data_layers: set[int], layer: int) -> None:
        if layer == 0:
            self._start_train_pass()
        self.in_data_layer = layer in data_layers

    def _before_test_layer(self, data_layers: set[int], layer: int) -> None:
        if layer == 0:
            self.between()
        self.in_data_layer = layer in data_layers

    def _start_train_pass(self) -> None:
        if self._solver.iter >= self._job.max_iter:
            self.between()  # the pass of the last display
        elif self._passes:
            self._add_loss()
        self._passes += 1

    def _end_gradients(self) -> None:
        self._add_loss()
        self._loss = self._loss_sum / self._passes
        if not math.isfinite(self._loss):
            raise Diverged(
                f"the loss of iteration {self._solver.iter} is not finite ({self._loss})"
            )
        if self._saver.is_waiting:
            self._publish()  # its weights give a finite loss

    def _add_loss(self) -> None:
        for blob, weight in self._losses:
            self._loss_sum += weight * float(blob.data.sum(dtype="float64"))


def _data_layers(net: Any) -> set[int]:
    """Return the numbers of the layers of pycaffe's `net` that have no bottom."""
    return {i for i in range(len(net.layers)) if not len(net._bottom_ids(i))}
