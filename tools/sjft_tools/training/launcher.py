"""Runs the processes that train, one per GPU, and passes on signals, until the first has ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format

from sjft.errors import InputError
from sjft_tools.training.endings import Ending, ending
from sjft_tools.training.job import ANSWERED, Job
from sjft_tools.training.plan import Plan, working_solver
from sjft_tools.training.processes import SolverProcess
from sjft_tools.training.record import Record
from sjft_tools.training.screen import Screen
from sjft_tools.training.watch import SIGNALS
from sjft_tools.training.workplace import Workplace, workplace

_WAIT_S = 0.5
#: Signals that come together, as from batch systems that send several, are one request.
_SETTLED_S = 2.0
#: What fast nets report is taken in together, so that watching costs no core.
_REST_S = 0.05


def run_plan(plan: Plan, screen: Screen) -> Ending:
    """Train; return how it ended. Raises InputError for what only Caffe or a layer finds out."""
    with workplace(plan.prefix) as place:
        record = Record(plan, screen)
        launcher = Launcher(plan, place, screen, record)
        try:
            result = ending(plan, record, launcher.run(), launcher.asked)
            record.note_in_log(result.text)
            return result
        except InputError as error:
            record.note_in_log(f"error: {error}")
            raise
        finally:
            launcher.end()
            place.clean()  # makes room for what the log still lacks
            record.close()


class Launcher:
    """The processes of a run; `asked` is the signal that stopped them, or is to."""

    def __init__(self, plan: Plan, place: Workplace, screen: Screen, record: Record) -> None:
        self._plan = plan
        self._place = place
        self._screen = screen
        self._record = record
        self._processes: list[SolverProcess] = []
        self._stopping_since: float | None = None
        self._has_said = False
        self.asked: signal.Signals | None = None

    def run(self) -> int:
        """Train; return the exit status of the process that leads, or of one that failed before."""
        with self._signals_passed_on():
            self._start()
            while True:
                self._wait()
                for rank, process in enumerate(self._processes):
                    status = process.ended()
                    self._take_in(rank, process)
                    if status is not None and (rank == 0 or status != 0):
                        process.close()
                        self._take_in(rank, process)
                        return status

    def end(self) -> None:
        """End what still runs, which holds nothing that could be lost."""
        self._kill()
        for process in self._processes:
            process.wait()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _start(self) -> None:
        solver, prefix = self._place.file("solver.prototxt"), self._place.file("snapshot")
        text = text_format.MessageToString(working_solver(self._plan, prefix))
        Path(solver).write_text(text, encoding="utf-8")
        for rank in range(max(1, len(self._plan.gpus))):
            job = Job(
                solver=solver,
                prefix=self._plan.prefix,
                working_prefix=prefix,
                max_iter=self._plan.solver.max_iter,
                snapshot=self._plan.solver.snapshot,
                snapshot_after_train=self._plan.solver.snapshot_after_train,
                with_gradients=self._plan.solver.snapshot_diff,
                weights=self._plan.weights,
                snapshots=self._plan.snapshots,
                must_resume=self._plan.must_resume,
                superseded=self._plan.superseded,
                gpus=self._plan.gpus,
                rank=rank,
                launcher=os.getpid(),
            )
            try:
                self._processes.append(SolverProcess(job, self._place.lock))
            except OSError as error:
                raise InputError(
                    f"the process that trains cannot be started ({error.strerror}): expected room "
                    f"for another process (ulimit -u) and its files (ulimit -n)"
                ) from None
        if self.asked is not None:  # while one was being started
            self._kill()

    def _wait(self) -> None:
        """Wait until there is something to read, not for long."""
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                for descriptor in process.descriptors:
                    selector.register(descriptor, selectors.EVENT_READ)
            selector.select(_WAIT_S)
        time.sleep(_REST_S)
        self._record.tick()
        if self.asked is not None and self._stopping_since is not None and not self._has_said:
            self._screen.say(
                f"{self.asked.name}: leaves after this iteration and a snapshot; one more signal, "
                f"{_SETTLED_S:g} seconds later, ends it at once"
            )
            self._has_said = True

    def _take_in(self, rank: int, process: SolverProcess) -> None:
        log, reports = process.read()
        self._record.take_log(log, leads=rank == 0)
        for name, *values in reports:
            if name == "nccl_id":
                for other in self._processes[1:]:
                    other.tell(f"{values[0]}\n")
            elif rank == 0 or name in ("failed", "diverged"):
                self._record.take_report(name, values)
                if name in ANSWERED:
                    process.tell("go on\n")

    @contextlib.contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        previous = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in previous.items():
            if handler is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        """Ask the leading process to stop; before training, or when asked once more, end all."""
        now = time.monotonic()
        if self.asked is None and self._record.iteration is not None:
            self._stopping_since = now
            self._processes[0].ask_to_stop()
        elif self._stopping_since is None or (
            self._has_said and now - self._stopping_since >= _SETTLED_S
        ):
            self._kill()
        else:
            return
        self.asked = signal.Signals(number)
