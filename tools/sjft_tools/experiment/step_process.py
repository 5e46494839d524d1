"""A step's command as a process: what it prints reaches the terminal at once, and its log."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import selectors
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sjft.parent_death import die_with_parent
from sjft_tools.child_process import program
from sjft_tools.experiment.step_log import StepLog
from sjft_tools.outlet import outlet

#: For a command to end after it was asked to: a training net's iteration and snapshot take a while.
PATIENCE_S = 600.0
#: For what a command's own processes may still print after its end.
_AFTERWARDS_S = 5.0
_PIECE = 1 << 16
_POLL_S = 0.2
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
#: Signals that come together, as from batch systems that send several, are one request.
_SETTLED_S = 2.0


def run_logged(words: Sequence[str], log: StepLog, lock: int) -> int:
    """Run a command that inherits the descriptor `lock`; return its status as Popen gives it.

    Where this process prints to a terminal, so does the command, which then draws its bars. It ends
    when this process does. At Ctrl-C or SIGTERM it is asked to end, and waited for; at another,
    _SETTLED_S later, or after PATIENCE_S, it is killed.
    """
    process: subprocess.Popen[bytes] | None = None
    with _channels() as channels:
        copier = _Copier(channels, log)
        try:
            with _interrupts_held() as mask:  # or one might come when nobody knows the process yet
                process = _started(words, channels, lock, mask)
                copier.start()
            return process.wait()
        except BaseException:
            if process is not None:
                _end(process)
            raise
        finally:
            copier.finish()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Iterable[int]]:
    """Let Ctrl-C and SIGTERM wait; yield the mask of signals as it was."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _started(
    words: Sequence[str], channels: Sequence[_Channel], lock: int, mask: Iterable[int]
) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        return subprocess.Popen(
            [*program(words[0]), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=channels[0].inner,
            stderr=channels[-1].inner,
            preexec_fn=prepare,
            pass_fds=[lock],
        )
    finally:
        for channel in channels:
            os.close(channel.inner)


def _end(process: subprocess.Popen[bytes]) -> None:
    with _interrupts_held():  # or a second one might come before anybody waits
        asked = time.monotonic()
        process.terminate()
        while process.poll() is None:
            again = signal.sigtimedwait(_INTERRUPTS, _POLL_S)
            waited = time.monotonic() - asked
            if waited > PATIENCE_S or (again is not None and waited >= _SETTLED_S):
                process.kill()
                process.wait()


class _Channel(NamedTuple):
    """`outer`: where to read what was written into `inner`; `target`: the descriptor it is for."""

    outer: int
    inner: int
    target: int


@contextlib.contextmanager
def _channels() -> Iterator[list[_Channel]]:
    """Yield one for standard output and one for errors, or one for both if these are one file."""
    channels: list[_Channel] = []
    try:
        for target in (1, 2)[: 1 if _are_one(1, 2) else 2]:
            channels.append(_terminal(target) if os.isatty(target) else _pipe(target))
        yield channels
    finally:
        for channel in channels:
            os.close(channel.outer)


def _are_one(a: int, b: int) -> bool:
    try:
        return os.path.sameopenfile(a, b)
    except OSError:  # one is closed
        return False


def _pipe(target: int) -> _Channel:
    outer, inner = os.pipe()
    return _Channel(outer, inner, target)


def _terminal(target: int) -> _Channel:
    """Return the ends of a terminal as wide as that of `target`, which changes no bytes."""
    outer, inner = pty.openpty()
    with contextlib.suppress(OSError, termios.error):
        size = fcntl.ioctl(target, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
    attributes = termios.tcgetattr(inner)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(inner, termios.TCSANOW, attributes)
    return _Channel(outer, inner, target)


class _Copier(threading.Thread):
    """Copies what comes out of the channels into the log, and to where it is for."""

    def __init__(self, channels: Sequence[_Channel], log: StepLog) -> None:
        super().__init__(daemon=True)
        self._channels = channels
        self._log = log
        self._leaves = threading.Event()

    def finish(self) -> None:
        """Wait until all is copied; not for long, for others may have the channels' other ends."""
        if self.is_alive():
            self.join(_AFTERWARDS_S)
            self._leaves.set()
            self.join()

    def run(self) -> None:
        """Copy until all channels are closed."""
        with selectors.DefaultSelector() as selector:
            for channel in self._channels:
                selector.register(channel.outer, selectors.EVENT_READ, channel.target)
            while selector.get_map() and not self._leaves.is_set():
                selector.select(_POLL_S)
                for key, piece in _pieces(selector):
                    if not piece:
                        selector.unregister(key.fd)
                        continue
                    self._log.write(piece)
                    outlet(key.data).write(piece)


def _pieces(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, bytes]]:
    """Read what is there; output comes before the errors that were printed after it.

    Errors are read first: all output from before them is there by then.
    """
    pieces = []
    for target in (2, 1):
        for key, _ in selector.select(0):
            if key.data == target:
                pieces.append((key, _read(key.fd)))
    return pieces[::-1]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _PIECE)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal's end
            raise
        return b""


def status_words(status: int) -> str:
    """Return how a process ended, in words."""
    if status >= 0:
        return f"gave status {status}"
    return f"was ended by {signal.Signals(-status).name}"
