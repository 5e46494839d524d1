"""Running the commands that the demo is made of, each as a user would type it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from sjft.errors import InputError
from sjft_tools.child_process import die_with_parent, program, stop

LAST_LINES = 15
POLL_S = 0.2


class StepFailed(InputError):
    """A command of the demo ended with a status other than 0."""


def run(words: list[str], log: Path, iterations: int | None = None, **environment: str) -> float:
    """Print the command and run it; return its seconds.

    What it writes to standard output is printed when it ends, and goes to the file `log` with what
    it writes to standard error. `iterations` is a training run's length, for the progress bar;
    `environment` is added to this process's.
    Raises StepFailed with the command, the log's name and its last lines if the status is not 0.
    """
    line = " ".join(
        [*(f"{name}={value}" for name, value in environment.items()), shlex.join(words)]
    )
    print(f"\n$ {line}", flush=True)
    started = time.monotonic()
    with log.open("wb") as errors, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*program(words[0]), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **environment},
            preexec_fn=die_with_parent,
        )
        try:
            status = process.wait() if iterations is None else _watch(process, log, iterations)
        except BaseException:
            stop(process)
            raise
        output.seek(0)
        said = output.read()
        errors.write(said)
    sys.stdout.write(said.decode(errors="replace"))
    sys.stdout.flush()
    if status != 0:
        raise StepFailed(failure(line, status, log))
    return time.monotonic() - started


def failure(line: str, status: int, log: Path) -> str:
    """Return what to say of a failed command: itself, how it ended, the last lines of its log."""
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    ended = (
        f"was ended by {signal.Signals(-status).name}" if status < 0 else f"gave status {status}"
    )
    return "\n  ".join([f"the command '{line}' {ended}; its log {log} ends with:", *last])


def _watch(process: subprocess.Popen[bytes], log: Path, iterations: int) -> int:
    """Wait for a training run, showing the iteration that its log tells of; return its status."""
    bar = tqdm(total=iterations, desc="training", unit="iteration", file=sys.stderr)
    with bar, log.open("rb") as file:
        while process.poll() is None:
            time.sleep(POLL_S)
            told = re.findall(rb"Iteration (\d+)", file.read())
            if told:
                bar.update(int(told[-1]) - bar.n)
    return process.returncode
