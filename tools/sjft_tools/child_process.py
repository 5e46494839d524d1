"""Processes that run a command for another and must not outlive it."""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import sys

from sjft.errors import InputError

PATIENCE_S = 10  # for a command to end after it was asked to
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def program(word: str) -> list[str]:
    """Return what runs `word`: this Python for sjft, the program on the PATH otherwise."""
    if word == "sjft":
        return [sys.executable, "-m", "sjft_tools.cli"]
    path = shutil.which(word)
    if path is None:
        raise InputError(f"there is no program '{word}' on the PATH: run '. ./env.sh' first")
    return [path]


def die_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, even by kill -9."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; after some seconds, make it."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
