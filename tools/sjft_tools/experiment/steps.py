"""Running the steps of an experiment, each unless it is done.

A step that has ended leaves a marker: the command, the fingerprints of its inputs and outputs. It
is done as long as all of these are what they were. A step that has begun leaves a note of its
command, inputs and times: the same step, begun again after a kill, finds its unfinished work and
goes on with it; another one in its place begins by removing what it would find. What an earlier one
has made stays until the new results are complete (earlier_results.py).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

from sjft.errors import InputError
from sjft_tools.atomic import remove
from sjft_tools.experiment.earlier_results import EarlierResults
from sjft_tools.experiment.fingerprints import MISSING, Fingerprints
from sjft_tools.experiment.step import (
    DONE,
    FOLDER,
    LOGS,
    Marker,
    Step,
    is_same_command,
    marker_file,
    other_command,
    read_marker,
)
from sjft_tools.experiment.step_log import StepLog
from sjft_tools.experiment.step_process import run_logged, status_words
from sjft_tools.json_file import write_json
from sjft_tools.outlet import say
from sjft_tools.work_folder import default_work

_BEGUN = "begun.json"


class StepFailed(InputError):
    """A command ended with a status other than 0."""


class Steps:
    """Runs the steps of one run folder, each unless it is done."""

    def __init__(
        self,
        folder: str,
        lock: int,
        again: str = "the same 'sjft run'",
        before: Callable[[Step, float], None] = lambda step, spent: None,
    ) -> None:
        """Run them in the run folder `folder`.

        `lock`: the descriptor of its lock, for the commands to hold as well; `again`: the command
        that goes on with the run; `before`: called with a step that is about to run, and the
        seconds that were spent on it before, may refuse it.
        """
        self._run_folder = folder
        self._folder = os.path.join(folder, FOLDER)
        self._logs = os.path.join(folder, LOGS)
        self._lock = lock
        self._again = again
        self._before = before
        self._fingerprints = Fingerprints(folder)
        self.done: dict[str, Marker] = {}
        """Step -> marker, of all that were run or found done."""

    def is_done(self, step: Step) -> bool:
        """Return whether the step has ended, and what it read and made is as it was then."""
        earlier = self._earlier(step)
        done = read_marker(Path(earlier.marker))
        return done is not None and not self._change(step, done, earlier)

    def run(self, step: Step) -> None:
        """Run the step, or say that it is done. Raises StepFailed, InputError for a lost input.

        What it has made before, from other inputs maybe, is there again if it does not end well.
        """
        earlier = self._earlier(step)
        earlier.put_back()
        done, begun = (read_marker(self._file(step, end)) for end in (DONE, _BEGUN))
        if done is not None and not self._change(step, done):
            say(f"done  {step.line}")
            self.done[step.name] = done
            # what was to take its place, and did not end
            self._forget_begun(step, earlier, map(default_work, step.outputs if begun else ()))
            return
        wanted = self._wanted(step)
        before = begun if done is None else done
        goes_on = begun is not None and not self._change(step, begun)
        if not goes_on:
            if before is not None:
                say(f"begins anew, since {self._change(step, before)}: {step.line}")
            in_place = [*step.outputs, *step.emptied] if done is None else []
            self._forget_begun(step, earlier, in_place)
        try:
            if done is not None:
                earlier.set_aside()
            self._end(step, wanted, self._spent(step, begun) if begun and goes_on else 0.0)
        except BaseException:
            with contextlib.suppress(OSError):  # then the next run does it
                earlier.put_back()
            raise
        earlier.forget()

    def _end(self, step: Step, wanted: dict[str, Any], spent: float) -> None:
        """Bring the step to its end: by its command, unless its outputs are all there."""
        self._write(step, _BEGUN, {**wanted, "spent": spent, "since": time.time()})
        for path in step.emptied:
            os.makedirs(path, exist_ok=True)
        started = time.monotonic()
        # A kill may have come between the last output, which appears when complete, and the marker.
        if step.appends or not all(os.path.exists(path) for path in step.outputs):
            if not step.goes_on:
                self._remove_some_outputs(step)
            self._before(step, spent)
            say(f"$ {step.line}")
            self._run_command(step)
        seconds = round(spent + time.monotonic() - started, 1)
        outputs = {path: self._fingerprints.of(path) for path in step.outputs}
        for path, fingerprint in outputs.items():
            if fingerprint == MISSING:
                raise StepFailed(f"'{step.line}' ended well but {path} is not there")
        marker = {**wanted, "outputs": outputs, "seconds": seconds, "size": step.size}
        self.done[step.name] = marker
        self._write(step, DONE, marker)
        self._file(step, _BEGUN).unlink()

    def _spent(self, step: Step, begun: dict[str, Any]) -> float:
        """Return the seconds spent on a step that was stopped: its log grew until then."""
        try:
            before, since = float(begun["spent"]), float(begun["since"])
            until = os.path.getmtime(self._log(step))
        except (OSError, KeyError, TypeError, ValueError):
            return 0.0
        return before + max(0.0, until - since)

    def _log(self, step: Step) -> str:
        return os.path.join(self._logs, f"{step.name}.log")

    def _run_command(self, step: Step) -> None:
        os.makedirs(self._logs, exist_ok=True)
        log = StepLog(self._log(step), step.line)
        end = "was stopped"
        try:
            status = run_logged(step.words, log, self._lock)
            end = status_words(status)
        finally:
            log.close(end)
        if status:
            last = "".join(f"\n    {line}" for line in log.last_lines if line)
            raise StepFailed(
                f"the step '{step.line}' {end}; its last lines, all of which are in "
                f"{self._log(step)}:{last}\nMend what they say, then go on with: {self._again}"
            )

    def _wanted(self, step: Step) -> dict[str, Any]:
        inputs = {path: self._fingerprints.of(path) for path in step.inputs}
        for path, fingerprint in inputs.items():
            if fingerprint == MISSING:
                raise InputError(f"{path} does not exist: '{step.line}' reads it")
        return {"command": list(step.words), "inputs": inputs}

    def _change(
        self, step: Step, before: dict[str, Any], earlier: EarlierResults | None = None
    ) -> str:
        """Return what is not as `before`, a marker or note, says; "" if nothing.

        `earlier`: where the outputs lie, if not in place. An input of a step that has ended may be
        gone: it has not become another one.
        """
        command, inputs, outputs = (before.get(key) for key in ("command", "inputs", "outputs"))
        if not isinstance(command, list) or not isinstance(inputs, dict):
            return "its marker is damaged"
        if not is_same_command(command, step.words):
            return f"its command was {other_command(command, step.words)}"
        if set(inputs) != set(step.inputs):
            return "it has read other files"
        for path, fingerprint in inputs.items():
            now = self._fingerprints.of(path)
            if now != fingerprint and not (now == MISSING and outputs is not None):
                return f"{path} has changed"
        for path in () if outputs is None else step.outputs:
            place = path if earlier is None else earlier.place(path)
            if not isinstance(outputs, dict) or self._fingerprints.of(place) != outputs.get(path):
                return f"{path} is not what it has made"
        return ""

    def _earlier(self, step: Step) -> EarlierResults:
        return EarlierResults(self._run_folder, step.name, [*step.emptied, *step.outputs])

    def _forget_begun(self, step: Step, earlier: EarlierResults, more: Iterable[str]) -> None:
        """Remove what an attempt has left that is not gone on with; `more` of it, too."""
        self._file(step, _BEGUN).unlink(missing_ok=True)
        earlier.forget_unfinished()
        for path in [*step.work, *more]:
            remove(path)

    def _remove_some_outputs(self, step: Step) -> None:
        """Remove what a kill left of several outputs.

        What lies in a folder of `emptied` is unfinished work, with which the command goes on.
        """
        for path in step.outputs:
            if os.path.dirname(path) not in step.emptied:
                remove(path)

    def _file(self, step: Step, end: str) -> Path:
        return marker_file(self._folder, step.name, end)

    def _write(self, step: Step, end: str, content: dict[str, Any]) -> None:
        os.makedirs(self._folder, exist_ok=True)
        write_json(str(self._file(step, end)), content, force=True)
