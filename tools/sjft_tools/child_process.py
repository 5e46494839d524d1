"""Commands that others run: which program a word stands for."""

from __future__ import annotations

import shutil
import sys

from sjft.errors import InputError


def program(word: str) -> list[str]:
    """Return what runs `word`: this Python for sjft, the program on the PATH otherwise.

    Raises InputError if there is none.
    """
    if word == "sjft":
        return [sys.executable, "-m", "sjft_tools.cli"]
    path = shutil.which(word)
    if path is None:
        raise InputError(f"there is no program '{word}' on the PATH: run '. ./env.sh' first")
    return [path]
