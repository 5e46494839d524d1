"""The launcher's end of a process that trains: its log and its reports, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

from sjft_tools.training.job import Job

_MODULE = "sjft_tools.training.solver_process"
_PIECE = 1 << 16
#: What never ends a line, as a layer's own progress bar, is cut into lines so long.
_LONGEST_LINE = 1 << 16
#: All of the log, with glog's prefix, on standard error.
_ENVIRONMENT = {
    "GLOG_minloglevel": "0",
    "GLOG_logtostderr": "1",
    "GLOG_log_prefix": "1",
    "GLOG_colorlogtostderr": "0",
    "PYTHONUNBUFFERED": "1",
}


class _Lines:
    """The reading end of a pipe, as whole lines; those longer than `longest` come in parts."""

    def __init__(self, descriptor: int, longest: int | None = None) -> None:
        self._longest = longest
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.is_open = True
        self._rest = b""

    def read(self) -> list[bytes]:
        """Return the lines that have come, without waiting."""
        while self.is_open:
            try:
                piece = os.read(self.descriptor, _PIECE)
            except BlockingIOError:
                break
            if not piece:
                self._close()
            self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        if self._longest is not None and len(self._rest) > self._longest:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def end(self) -> None:
        """Read what is left and close the pipe; a line that was cut off counts as one."""
        lines = self.read()
        if self.is_open:
            self._close()
        self._rest = b"".join(line + b"\n" for line in [*lines, *filter(None, [self._rest])])

    def _close(self) -> None:
        self.is_open = False
        os.close(self.descriptor)


class SolverProcess:
    """A process of a run, which inherits the descriptor `lock`."""

    def __init__(self, job: Job, lock: int) -> None:
        reports, reports_end = os.pipe()
        log, log_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(reports_end)],
                stdin=subprocess.PIPE,
                stdout=log_end,
                stderr=log_end,
                pass_fds=(reports_end, lock),
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,  # the terminal's signals are the launcher's to judge
            )
        finally:
            os.close(log_end)
            os.close(reports_end)
        self._log, self._reports = _Lines(log, _LONGEST_LINE), _Lines(reports)
        self.tell(job.line())

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [lines.descriptor for lines in (self._log, self._reports) if lines.is_open]

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is noticed elsewhere
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def read(self) -> tuple[list[bytes], list[Any]]:
        """Return the lines of its log and the reports that have come by now.

        What was logged before a report has come whenever the report has.
        """
        reports = []
        for line in self._reports.read():
            with contextlib.suppress(ValueError):  # it was killed while it wrote
                reports.append(json.loads(line))
        return self._log.read(), reports

    def ended(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Take in all that is left of an ended process, for the next read."""
        self._log.end()
        self._reports.end()

    def ask_to_stop(self) -> None:
        """Ask it to take a snapshot after this iteration and to end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        self._process.kill()

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()
