"""Where the data layers stand after a given iteration, so that a resumed run sees the same batches.

A layer is a stream of numbered batches, and Caffe's solver takes a fixed number of them: iter_size
in an iteration of training, test_iter in every test. Caffe restores weights and solver from a
snapshot and starts every layer anew, without telling it the iteration. Therefore:

* inside ``caffe train -solver S -snapshot X.solverstate`` the layers read the two names from the
  arguments of the process, the iteration from X, and the numbers of batches from S;
* a program that restores a solver with pycaffe calls :func:`start_at` afterwards, as ``sjft train``
  does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import text_format

from sjft.command_line import flag
from sjft.errors import InputError, why_unread
from sjft.solver_state import read_iteration


class Schedule(NamedTuple):
    """How many batches a solver takes, and when; the names are those of SolverParameter."""

    iter_size: int
    test_iter: tuple[int, ...]
    test_interval: int
    test_initialization: bool

    def train_batches(self, iteration: int) -> int:
        """Return how many batches training has taken once `iteration` iterations are done."""
        return iteration * self.iter_size

    def tests(self, iteration: int) -> int:
        """Return how many tests have been made before the one due at `iteration`, if one is."""
        if not self.test_interval or not iteration:
            return 0
        multiples = -(-iteration // self.test_interval)  # 0 included, `iteration` itself not
        return multiples - (0 if self.test_initialization else 1)

    def test_batches(self, iteration: int, test_net: int | None = None) -> int:
        """Return how many batches the test net number `test_net` has taken before `iteration`.

        A net that does not know its number (None) can tell only if all nets take equally many; it
        counts from its first batch otherwise.
        """
        if test_net is None:
            counts = set(self.test_iter)
            return self.tests(iteration) * counts.pop() if len(counts) == 1 else 0
        return self.tests(iteration) * self.test_iter[test_net]


def read_schedule(solver: str) -> Schedule:
    """Read the Schedule of the solver in the text file `solver`, with Caffe's own message.

    Raises InputError if the file cannot be read or is no SolverParameter in text format.
    """
    # here, as nothing else in this module needs Caffe
    from caffe.proto.caffe_pb2 import SolverParameter

    try:
        # comments may be in any encoding, which Caffe passes over
        text = Path(solver).read_text(encoding="utf-8", errors="replace")
        message = text_format.Parse(text, SolverParameter())
    except (OSError, text_format.ParseError) as error:
        raise InputError(f"the solver {solver} cannot be read: {why_unread(error)}") from None
    return Schedule(
        iter_size=message.iter_size,
        test_iter=tuple(message.test_iter),
        test_interval=message.test_interval,
        test_initialization=message.test_initialization,
    )


def batches_before(arguments: list[str], train: bool) -> int:
    """Return how many batches a layer's run has taken before this process goes on with it.

    `arguments`: those of the caffe command; without ``train``, ``-solver`` and ``-snapshot`` among
    them the run is a new one, and the answer 0. `train`: whether the layer is in the TRAIN phase.
    Raises InputError if the solver or the snapshot cannot be read.
    """
    solver, snapshot = flag(arguments, "solver"), flag(arguments, "snapshot")
    if "train" not in arguments or solver is None or snapshot is None:
        return 0
    schedule, iteration = read_schedule(solver), read_iteration(snapshot)
    return schedule.train_batches(iteration) if train else schedule.test_batches(iteration)


def start_at(solver: Any, schedule: Schedule) -> None:
    """Make sjft's data layers in all nets of pycaffe's `solver` go on from its iteration.

    To be called after ``solver.restore(...)`` and before the first step.
    """
    taken = [(solver.net, schedule.train_batches(solver.iter))]
    for number, net in enumerate(solver.test_nets):
        taken.append((net, schedule.test_batches(solver.iter, number)))
    for net, batches in taken:
        for layer in net.layers:
            if hasattr(layer, "start_at"):
                layer.start_at(batches)
