"""The processes that work for another, and what memory and cores' time processes take."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the ids of the children of process `pid`, of their children, and so on."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # of a thread that has just ended
            for child in file.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def kib(pid: int, file: str = "status") -> dict[str, int]:
    """Return what a file of /proc/PID gives in kB, by name; smaps_rollup takes long to be made."""
    lines = [line.split() for line in Path(f"/proc/{pid}/{file}").read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1:] == ["kB"]}


def core_seconds(pids: Iterable[int]) -> float:
    """Return the seconds that cores have spent on the threads that these processes have."""
    nanoseconds = 0
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            nanoseconds += int(file.read_text().split()[0])
    return nanoseconds / 1e9
