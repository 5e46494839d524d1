"""What the launcher and a process that trains tell each other.

The launcher writes a line, the Job, to the process's standard input. The process writes lines to a
pipe, whose descriptor is its argument: JSON lists, a name and what belongs to it, as the methods of
Reports list them. The launcher answers some by one more line, before which the process waits.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TextIO

from sjft_tools.training.table import NetOutputs


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process is to train; `rank` counts the processes of a run.

    `solver`: a file in which the solver takes no snapshots of its own and writes those it is told
    to take under `working_prefix`; they appear under `prefix` every `snapshot` iterations (0:
    never) and, if `snapshot_after_train`, at the end; `with_gradients`: see snapshots.Shape. It
    starts with the first complete one of the states `snapshots`, which must be so if
    `must_resume`; else with the files `weights`. The files `superseded` are removed before the
    first iteration.
    """

    solver: str
    prefix: str
    working_prefix: str
    max_iter: int
    snapshot: int
    snapshot_after_train: bool
    with_gradients: bool
    weights: list[str]
    snapshots: list[str]
    must_resume: bool
    superseded: list[str]
    gpus: list[int]
    rank: int
    launcher: int  # its process id

    def line(self) -> str:
        """Return the job as a line of text."""
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Job:
        """Return the job that `line` made."""
        return cls(**json.loads(line))


#: Reports that are answered.
ANSWERED = ("started", "written")


class Reports:
    """The process's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._pipe: TextIO = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def _send(self, *message: object) -> None:
        self._pipe.write(json.dumps(message) + "\n")

    def _wait(self) -> None:
        if not sys.stdin.readline():
            raise BrokenPipeError("the launcher is gone")

    def notice(self, text: str) -> None:
        """Something the user should read."""
        self._send("notice", text)

    def started(self, iteration: int, snapshot: str | None, outputs: NetOutputs) -> None:
        """Training begins with `iteration`, from the state `snapshot` or anew; waits."""
        self._send("started", iteration, snapshot, *outputs)
        self._wait()

    def iteration(self, done: int, loss: float) -> None:
        """The number of iterations that are done, and the loss of the last, before smoothing."""
        self._send("iteration", done, loss)

    def saving(self, iteration: int, needed: int) -> None:
        """A snapshot is being taken, for which so many bytes are needed."""
        self._send("saving", iteration, needed)

    def written(self, iteration: int) -> None:
        """All of it is on the disk; waits until all that was displayed before is, too."""
        self._send("written", iteration)
        self._wait()

    def saved(self, iteration: int) -> None:
        """It has its final names."""
        self._send("saved", iteration)

    def nccl_id(self, text: str) -> None:
        """What the other processes need to join this one."""
        self._send("nccl_id", text)

    def finished(self) -> None:
        """All is done."""
        self._send("finished")

    def stopped(self, number: int) -> None:
        """Training stopped, as the signal `number` asked it to."""
        self._send("stopped", number)

    def diverged(self, text: str) -> None:
        """Training cannot go on: the loss or the weights are not finite."""
        self._send("diverged", text)

    def failed(self, status: int, text: str) -> None:
        """Training cannot go on; the exit status, and why."""
        self._send("failed", status, text)
