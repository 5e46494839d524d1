"""What is known of a run while it goes on: the log and the CSV are written, the screen kept."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

from sjft.errors import InputError
from sjft_tools.training.caffe_log import LogReader
from sjft_tools.training.patient_file import PatientFile
from sjft_tools.training.plan import Plan
from sjft_tools.training.screen import Screen
from sjft_tools.training.snapshots import STATE, snapshot_path
from sjft_tools.training.table import NetOutputs, Table, column_names

_KEPT_LINES = 200
_OURS = "sjft: "  # how lines of sjft's layers begin
#: As Caffe displays -log(FLT_MIN): its softmax losses, and ours, take no probability for less.
_GREATEST_LOSS = "87.3365"


class Record:
    """The record of one run.

    `iteration`: how many are done, None until training begins; `newest`: the newest snapshot's
    state, None if there is none; `saving`: iteration and bytes of a snapshot being written;
    `end`: the last report, (name, values), once the leading process has made it; `tail`: the last
    lines of the log.
    """

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        try:
            self._log = PatientFile(plan.log, append=plan.goes_on)
        except OSError as error:
            raise InputError(
                f"the log {plan.log} cannot be written ({error.strerror}): move away what is there"
            ) from None
        self._table: Table | None = None
        self._columns: dict[Any, str] = {}
        self._reader = LogReader()
        self._began = time.monotonic()
        self._troubles: dict[str, str | None] = {}
        self.iteration: int | None = None
        self.newest: str | None = None
        self.saving: tuple[int, int] | None = None
        self.end: tuple[str, list[Any]] | None = None
        self.tail: deque[str] = deque(maxlen=_KEPT_LINES)

    def take_log(self, lines: list[bytes], leads: bool) -> None:
        """Take in lines of the log of a process; `leads`: whether it is the one that displays."""
        for line in lines:
            self._log.write(line + b"\n")
            text = line.decode(errors="replace")
            self.tail.append(text)
            if text.startswith(_OURS):
                self._screen.say_now_and_then(text[len(_OURS) :])
            if leads:
                self._note_value(text)

    def take_report(self, name: str, values: list[Any]) -> None:
        """Take in a report of the process that leads, or of one that failed: see job.Reports."""
        if hasattr(self, f"_on_{name}"):
            getattr(self, f"_on_{name}")(*values)
        else:
            self.end = name, values

    def tick(self) -> None:
        """Let the bar's time go on, and say once what cannot be written."""
        self._screen.tick()
        for file in [self._log, *([self._table.file] if self._table else [])]:
            if file.trouble is not None and self._troubles.get(file.path) is None:
                self._screen.say(
                    f"{file.path} cannot be written now ({file.trouble}): training goes on, and "
                    f"what is missing there is written as soon as it can be"
                )
            self._troubles[file.path] = file.trouble

    def note_in_log(self, text: str) -> None:
        """Write a sentence of ours into the log."""
        self._log.write(os.fsencode(f"{_OURS}{text}\n"))

    def close(self) -> None:
        """Write what is left to be written."""
        if self._table is not None:
            self._table.flush()
            self._table.file.close()
        self._log.close()
        self._screen.close()

    def _note_value(self, line: str) -> None:
        event = self._reader.read(line)
        if event is None or self._table is None:
            return
        self._table.add(event, time.monotonic() - self._began)
        column = self._columns.get((event.kind, event.net or 0, event.output))
        if column is not None and event.kind == "test":
            self._screen.note_test(column, event.value)
        if column is not None and event.kind == "train" and event.value == _GREATEST_LOSS:
            self._screen.say_now_and_then(
                f"warning: {column} is {_GREATEST_LOSS} after iteration {event.iteration}, the "
                f"most that a softmax loss can be: the net gives every image's own class no "
                f"probability at all, as it does when base_lr is too high"
            )

    def _on_notice(self, text: str) -> None:
        self.note_in_log(text)
        self._screen.say(text)

    def _on_started(self, iteration: int, snapshot: str | None, train: Any, tests: Any) -> None:
        outputs = NetOutputs(train, tests)
        self._columns = column_names(outputs, self._plan.solver.test_compute_loss)
        self._table = Table(self._plan.csv, self._columns, iteration)
        self._began = time.monotonic()
        self.iteration, self.newest = iteration, snapshot
        if snapshot is not None:
            self._on_notice(f"goes on after iteration {iteration}, from {snapshot}")
        elif self._plan.goes_on:
            self._on_notice(
                f"there is no complete snapshot of {self._plan.prefix!r}: starts from the beginning"
            )
        self._screen.open_bar(iteration, self._plan.solver.max_iter)

    def _on_iteration(self, done: int, loss: float) -> None:
        self.iteration = done
        self._screen.progress(done, loss)
        if self._table is not None:
            self._table.flush_before(done)

    def _on_saving(self, iteration: int, needed: int) -> None:
        self.saving = iteration, needed

    def _on_written(self, iteration: int) -> None:
        self.saving = None
        if self._table is not None:  # a run that goes on from this snapshot keeps these rows
            self._table.flush_before(iteration)
            self._table.file.sync()

    def _on_saved(self, iteration: int) -> None:
        self.newest = snapshot_path(self._plan.prefix, iteration, STATE)
