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
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sjft_tools.child_process import die_with_parent, program
from sjft_tools.experiment.step_log import StepLog

#: For a command to end after it was asked to: a training net's iteration and snapshot take a while.
PATIENCE_S = 600.0
#: For what a command's own processes may still print after its end.
_AFTERWARDS_S = 5.0
_PIECE = 1 << 16
_POLL_S = 0.2


def say(text: str) -> None:
    """Print a line, as long as somebody takes it: a run outlives its terminal."""
    try:
        print(text, flush=True)
    except OSError:
        # for good, and so that what is left in the buffer does not fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_logged(words: Sequence[str], log: StepLog, lock: int) -> int:
    """Run a command that inherits the descriptor `lock`; return its status as Popen gives it.

    Where this process prints to a terminal, so does the command, which then draws its bars. It ends
    when this process does. At Ctrl-C or SIGTERM it is asked to end, and waited for; at another, or
    after PATIENCE_S, it is killed.
    """
    with contextlib.ExitStack() as stack:
        channels = stack.enter_context(_channels())
        try:
            process = subprocess.Popen(
                [*program(words[0]), *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=channels[0].inner,
                stderr=channels[-1].inner,
                preexec_fn=die_with_parent,
                pass_fds=[lock],
            )
        finally:
            for channel in channels:
                os.close(channel.inner)
        copier = stack.enter_context(_copying(channels, log))
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            copier.join(_AFTERWARDS_S)
    return status


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
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


@contextlib.contextmanager
def _copying(channels: Sequence[_Channel], log: StepLog) -> Iterator[threading.Thread]:
    """Copy in a thread what comes out of the channels, until all are closed or the block ends."""
    leave = threading.Event()
    thread = threading.Thread(target=_copy, args=(channels, log, leave), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        leave.set()
        thread.join(_AFTERWARDS_S)  # it may hang on a terminal that was stopped


def _copy(channels: Sequence[_Channel], log: StepLog, leave: threading.Event) -> None:
    deaf: set[int] = set()
    with selectors.DefaultSelector() as selector:
        for channel in channels:
            selector.register(channel.outer, selectors.EVENT_READ, channel.target)
        while selector.get_map() and not leave.is_set():
            for key, _ in selector.select(_POLL_S):
                piece = _read(key.fd)
                if not piece:
                    selector.unregister(key.fd)
                    continue
                if key.data not in deaf and not _write(key.data, piece):
                    deaf.add(key.data)
                log.write(piece)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _PIECE)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal's end
            raise
        return b""


def _write(descriptor: int, piece: bytes) -> bool:
    """Write all of `piece`; return whether there is anybody left to write to."""
    while piece:
        try:
            piece = piece[os.write(descriptor, piece) :]
        except BlockingIOError:
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select(_POLL_S)
        except OSError:
            return False
    return True


def status_words(status: int) -> str:
    """Return how a process ended, in words."""
    if status >= 0:
        return f"gave status {status}"
    return f"was ended by {signal.Signals(-status).name}"
