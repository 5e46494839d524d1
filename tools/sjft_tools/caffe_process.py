"""Running Caffe in a process of its own: where it cannot go on it ends the process it runs in."""

from __future__ import annotations

import os
import re
import signal
import subprocess

TIMEOUT_S = 600

_FATAL_LINE = re.compile(r"^F\d{4}.*?\] (.*)$", re.MULTILINE)


def run_process(command: list[str], **environment: str) -> tuple[int, str]:
    """Run `command`, with `environment` added to this process's, and Caffe's log down to errors.

    Returns its status, negative for a signal, and its output with the errors. A command that cannot
    be run, or that does not end in time, has status -1 and the reason as output.
    """
    try:
        process = subprocess.run(
            command,
            env={**os.environ, "GLOG_minloglevel": "2", "GLOG_logtostderr": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"it did not end within {TIMEOUT_S} seconds"
    except OSError as error:
        return -1, f"{command[0]} cannot be run: {error.strerror}"
    return process.returncode, process.stdout.decode(errors="replace").strip()


def reason(status: int, output: str) -> str:
    """Return why a process of run_process failed: Caffe's fatal line, else the last one written."""
    fatal = _FATAL_LINE.search(output)
    if fatal is not None:
        return " ".join(fatal.group(1).split())
    if output:
        return output.splitlines()[-1]
    if -status in list(signal.Signals):
        return f"it ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"
