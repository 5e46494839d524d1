"""One step of an experiment: a command, what it reads and what it makes; and whether it is done.

A step that has ended leaves a marker: the command, the fingerprints of its inputs and outputs. It
is done as long as all of these are what they were. A step that has begun leaves a note of its
command, inputs and times: the same step, begun again after a kill, finds its unfinished work and
goes on with it; another one in its place begins by removing what it would find.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from sjft.errors import InputError
from sjft_tools.atomic import new_file
from sjft_tools.experiment.fingerprints import MISSING, Fingerprints
from sjft_tools.experiment.step_log import StepLog
from sjft_tools.experiment.step_process import run_logged, say, status_words

FOLDER = "steps"  # of the markers, in the run folder
LOGS = "logs"  # of the steps, in the run folder

#: Options, with a value, of 'sjft convert' and 'sjft retrieve' on which the result does not depend.
_INDIFFERENT = ("--workers", "--scheduler", "--product")

#: What a step leaves when it has ended: command, inputs, outputs, seconds, size.
Marker = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A command that a person could type, `words`, and the paths that it reads and makes.

    `work`: paths of unfinished work, which a new beginning has to do without; `emptied`: folders
    that must be there, and empty, at a new beginning. `size`: what the time that it takes grows
    with, beside other steps of its kind. `goes_on`: the command goes on behind the first of its
    outputs; others replace nothing, and must not find any. `appends`: the command still writes into
    outputs that are there, and only its own end tells that they are complete.
    """

    name: str
    words: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    work: Sequence[str] = ()
    emptied: Sequence[str] = ()
    size: int = 1
    goes_on: bool = False
    appends: bool = False

    @property
    def kind(self) -> str:
        """The name without the round: steps of one kind do the same in every round."""
        return re.sub(r"^round_\d+_", "", self.name)

    @property
    def line(self) -> str:
        """The command as one types it."""
        return shlex.join(self.words)


def marker_file(folder: str, name: str, kind: str = "done") -> Path:
    """Return where the marker of the step `name` lies in the folder of markers `folder`."""
    return Path(folder, f"{name}.{kind}.json")


class StepFailed(InputError):
    """A command ended with a status other than 0."""


def read_markers(folder: str) -> dict[str, Marker]:
    """Return step -> marker of all that have ended in the run folder `folder`, whenever it was."""
    found = {}
    for path in sorted(Path(folder, FOLDER).glob("*.done.json")):
        content = _read(path)
        if content is not None:
            found[path.name[: -len(".done.json")]] = content
    return found


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
        done = _read(self._file(step, "done"))
        return done is not None and not self._change(step, done)

    def run(self, step: Step) -> None:
        """Run the step, or say that it is done. Raises StepFailed, InputError for a lost input."""
        done, begun = _read(self._file(step, "done")), _read(self._file(step, "begun"))
        before = begun if done is None else done
        change = self._change(step, before)
        if done is not None and not change:
            say(f"done  {step.line}")
            self.done[step.name] = done
            return
        wanted = self._wanted(step)
        spent = 0.0
        if begun is not None and not change:
            spent = self._spent(step, begun)
        else:
            if before is not None:
                say(f"begins anew, since {change}: {step.line}")
            self._clear(step)
        self._write(step, "begun", {**wanted, "spent": spent, "since": time.time()})
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
        self._write(step, "done", marker)

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

    def _change(self, step: Step, before: dict[str, Any] | None) -> str:
        """Return what is not as `before`, a marker or note, says; "" if nothing.

        An input of a step that has ended may be gone: it has not become another one.
        """
        if before is None:
            return ""
        command, inputs, outputs = (before.get(key) for key in ("command", "inputs", "outputs"))
        if not isinstance(command, list) or not isinstance(inputs, dict):
            return "its marker is damaged"
        if _decisive(command) != _decisive(step.words):
            return f"its command was '{shlex.join(command)}'"
        if set(inputs) != set(step.inputs):
            return "it has read other files"
        for path, fingerprint in inputs.items():
            now = self._fingerprints.of(path)
            if now != fingerprint and not (now == MISSING and outputs is not None):
                return f"{path} has changed"
        for path in step.outputs:
            if outputs is not None and self._fingerprints.of(path) != outputs.get(path):
                return f"{path} is not what it has made"
        return ""

    def _clear(self, step: Step) -> None:
        """Remove what an earlier step of this name has made, all of it in the run folder."""
        self._file(step, "done").unlink(missing_ok=True)
        self._file(step, "begun").unlink(missing_ok=True)
        for path in [*step.outputs, *step.work, *step.emptied]:
            _remove(path)
        for path in step.emptied:
            os.makedirs(path)

    def _remove_some_outputs(self, step: Step) -> None:
        """Remove what a kill left of several outputs.

        What lies in a folder of `emptied` is unfinished work, with which the command goes on.
        """
        for path in step.outputs:
            if os.path.dirname(path) not in step.emptied:
                _remove(path)

    def _file(self, step: Step, kind: str) -> Path:
        return marker_file(self._folder, step.name, kind)

    def _write(self, step: Step, kind: str, content: dict[str, Any]) -> None:
        os.makedirs(self._folder, exist_ok=True)
        with new_file(str(self._file(step, kind)), force=True) as partial:
            Path(partial).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _decisive(words: Sequence[str]) -> list[object]:
    """Return what of a command decides its result: how many GPUs it takes, but not which."""
    return [
        len(word.split(",")) if option == "--gpu" else word
        for option, word in zip(["", *words], words)
        if word not in _INDIFFERENT and option not in _INDIFFERENT
    ]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
