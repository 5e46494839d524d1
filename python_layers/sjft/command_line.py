"""The flags that the ``caffe`` command was given, as seen by a layer inside it.

The interpreter inside ``caffe train`` is told nothing: neither the arguments nor the solver. Linux
keeps every process's arguments in /proc, which is where they are read. The forms are gflags':
``-name value``, ``--name=value``, the last one counts; ``--flagfile`` and ``--fromenv`` too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from sjft.errors import InputError

_ARGUMENTS = "/proc/self/cmdline"
_PROGRAM = "/proc/self/exe"
_MOST_NESTED = 8


def is_embedded() -> bool:
    """Tell whether this interpreter runs inside another program, such as the caffe command."""
    try:
        program = os.readlink(_PROGRAM)
    except OSError:  # no /proc; a guess, as any other Python layer may set sys.argv
        return getattr(sys, "argv", None) in (None, [], [""])
    return not os.path.basename(program).startswith("python")


def process_arguments() -> list[str]:
    """Return this process's arguments without the program's name; none where /proc is missing."""
    try:
        with open(_ARGUMENTS, "rb") as stream:
            words = stream.read().split(b"\0")
    except OSError:
        return []
    return [os.fsdecode(word) for word in words[1:-1]]


def flag(arguments: list[str], name: str) -> str | None:
    """Return the value that `arguments` give the string flag `name`, None if they give none."""
    value = None
    environment = []
    for found, given in _flags(arguments, 0):
        if found == name:
            value = given
        elif found in ("fromenv", "tryfromenv"):
            environment += given.split(",")
    if name in environment:  # gflags looks there after all arguments
        value = os.environ.get(f"FLAGS_{name}", value)
    return value or None


def check_one_gpu(arguments: list[str]) -> None:
    """Raise InputError if `arguments` list several GPUs to a Caffe that has no solver_rank.

    Each of them, as in NVIDIA's fork, would have a layer of its own that cannot know its share.
    """
    gpus = flag(arguments, "gpu") or ""
    if "," in gpus:
        raise InputError(
            f"-gpu {gpus} names several GPUs, but this Caffe's Python interface has no "
            f"solver_rank to tell them apart: all would train on the same batches; expected one GPU"
        )


def _flags(arguments: list[str], depth: int) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for each word that may be a flag, those of flag files in their place."""
    for word, following in zip(arguments, [*arguments[1:], ""]):
        if word == "--":
            return
        if not word.startswith("-"):
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        value = value if has_value else following
        if name == "flagfile" and depth < _MOST_NESTED:
            for file in value.split(","):
                yield from _flags(_lines(file), depth + 1)
        else:
            yield name, value


def _lines(file: str) -> list[str]:
    """Return the flags of a flag file: one a line; comments and program names are left out."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [line.strip() for line in stream]
    except OSError:
        return []  # gflags itself will complain
    return [line for line in lines if line.startswith("-")]
