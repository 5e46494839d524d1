"""One step of an experiment: a command, what it reads and what it makes; and whether it is done.

A step that has ended leaves a marker: the command, the fingerprints of its inputs and outputs. It
is done as long as all of these are what they were. A step that has begun leaves a note of its
command and inputs: the same step, begun again after a kill, finds its unfinished work and goes on
with it; another one in its place begins by removing what it would find.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sjft.errors import InputError
from sjft_tools.atomic import new_file
from sjft_tools.child_process import die_with_parent, program, stop
from sjft_tools.experiment.fingerprints import MISSING, Fingerprints

FOLDER = "steps"  # of the markers, in the run folder

#: What a step leaves when it has ended: command, inputs, outputs, seconds.
Marker = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A command that a person could type, `words`, and the paths that it reads and makes.

    `work`: paths of unfinished work, which a new beginning has to do without; `emptied`: folders
    that must be there, and empty, at a new beginning.
    """

    name: str
    words: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    work: Sequence[str] = ()
    emptied: Sequence[str] = ()

    @property
    def line(self) -> str:
        """The command as one types it."""
        return shlex.join(self.words)


def marker_file(folder: str, name: str, kind: str = "done") -> Path:
    """Return where the marker of the step `name` lies in the folder of markers `folder`."""
    return Path(folder, f"{name}.{kind}.json")


class StepFailed(InputError):
    """A command ended with a status other than 0."""


class Steps:
    """Runs the steps of one run folder, each unless it is done."""

    def __init__(self, folder: str, lock: int) -> None:
        """`lock`: the descriptor of the run folder's lock, for the commands to hold as well."""
        self._folder = os.path.join(folder, FOLDER)
        self._lock = lock
        self._fingerprints = Fingerprints()
        self.done: dict[str, Marker] = {}
        """Step -> marker, of all that were run or found done."""

    def run(self, step: Step) -> None:
        """Run the step, or say that it is done. Raises StepFailed, InputError for a lost input."""
        wanted = self._wanted(step)
        done, begun = self._read(step, "done"), self._read(step, "begun")
        if done is not None and self._is_done(step, wanted, done):
            print(f"done  {step.line}", flush=True)
            self.done[step.name] = done
            return
        if done is not None or begun != wanted:
            self._clear(step)
            self._write(step, "begun", wanted)
        started = time.monotonic()
        # Outputs appear only when complete: a kill may have come between the last and the marker.
        if not all(os.path.exists(path) for path in step.outputs):
            self._remove_some_outputs(step)
            print(f"\n$ {step.line}", flush=True)
            _run(step, self._lock)
        seconds = round(time.monotonic() - started, 1)
        outputs = {path: self._fingerprints.of(path) for path in step.outputs}
        for path, fingerprint in outputs.items():
            if fingerprint == MISSING:
                raise StepFailed(f"'{step.line}' ended well but {path} is not there")
        self.done[step.name] = {**wanted, "outputs": outputs, "seconds": seconds}
        self._write(step, "done", self.done[step.name])

    def _wanted(self, step: Step) -> dict[str, Any]:
        inputs = {path: self._fingerprints.of(path) for path in step.inputs}
        for path, fingerprint in inputs.items():
            if fingerprint == MISSING:
                raise InputError(f"{path} does not exist: '{step.line}' reads it")
        return {"command": list(step.words), "inputs": inputs}

    def _is_done(self, step: Step, wanted: dict[str, Any], done: dict[str, Any]) -> bool:
        return all(done.get(key) == value for key, value in wanted.items()) and all(
            self._fingerprints.of(path) == done["outputs"].get(path) for path in step.outputs
        )

    def _clear(self, step: Step) -> None:
        """Remove what an earlier step of this name has made, all of it in the run folder."""
        self._file(step, "done").unlink(missing_ok=True)
        self._file(step, "begun").unlink(missing_ok=True)
        for path in [*step.outputs, *step.work, *step.emptied]:
            _remove(path)
        for path in step.emptied:
            os.makedirs(path)

    def _remove_some_outputs(self, step: Step) -> None:
        """Remove what a kill left of several outputs: commands replace nothing.

        What lies in a folder of `emptied` is unfinished work, with which the command goes on.
        """
        for path in step.outputs:
            if os.path.dirname(path) not in step.emptied:
                _remove(path)

    def _file(self, step: Step, kind: str) -> Path:
        return marker_file(self._folder, step.name, kind)

    def _read(self, step: Step, kind: str) -> dict[str, Any] | None:
        try:
            content = json.loads(self._file(step, kind).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def _write(self, step: Step, kind: str, content: dict[str, Any]) -> None:
        os.makedirs(self._folder, exist_ok=True)
        with new_file(str(self._file(step, kind)), force=True) as partial:
            Path(partial).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _run(step: Step, lock: int) -> None:
    sys.stdout.flush()
    process = subprocess.Popen(
        [*program(step.words[0]), *step.words[1:]],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
        pass_fds=[lock],
    )
    try:
        status = process.wait()
    except BaseException:
        stop(process)
        raise
    if status:
        ended = (
            f"was ended by {signal.Signals(-status).name}"
            if status < 0
            else f"gave status {status}"
        )
        raise StepFailed(
            f"the step '{step.line}' {ended}: mend what it says above, then give the same "
            f"'sjft run' again"
        )
