"""What an unfinished conversion writes down, so that the same command can go on from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence

import cv2

from sjft import __version__
from sjft_tools.image_files import Storage
from sjft_tools.image_sets import ImageSet
from sjft_tools.json_file import read_json
from sjft_tools.work_folder import PLAN_FILE, put_file

_LEFT_OUT = "left_out.txt"


def write_plan(work: str, images: ImageSet, storage: Storage) -> None:
    """Write down in the folder `work` what is being converted."""
    put_file(os.path.join(work, PLAN_FILE), json.dumps(_plan(images, storage)).encode())


def is_same_plan(work: str, images: ImageSet, storage: Storage) -> bool:
    """Return whether what was begun in the folder `work` is the same conversion."""
    try:
        return bool(read_json(os.path.join(work, PLAN_FILE)) == _plan(images, storage))
    except (OSError, ValueError):
        return False


def _plan(images: ImageSet, storage: Storage) -> dict[str, object]:
    digest = hashlib.sha256()
    for entry in images.entries:
        digest.update(repr(tuple(entry)).encode())
    for archive in sorted({entry.archive for entry in images.entries} - {""}):
        state = os.stat(archive)
        digest.update(repr((archive, state.st_size, state.st_mtime_ns)).encode())
    return {
        "entries": digest.hexdigest(),
        "count": len(images.entries),
        "class_names": images.class_names,
        "storage": list(storage),
        # who encodes images anew
        "versions": [__version__, cv2.__version__],
    }


class LeftOut:
    """The positions of the images that were left out, ascending, in the folder `work`."""

    def __init__(self, work: str) -> None:
        self._path = os.path.join(work, _LEFT_OUT)
        self.positions: list[int] = []
        with contextlib.suppress(FileNotFoundError), open(self._path, encoding="ascii") as stream:
            # a kill may have cut the last line, and what it cut was not committed
            self.positions = [int(line) for line in stream if line.endswith("\n")]

    def add(self, position: int) -> None:
        """Take in the next one; it is on the disk before any record after it."""
        self.positions.append(position)
        self._write("a", [position])

    def cut(self, end: int) -> None:
        """Drop the positions from `end` on: they will be found again."""
        self.positions = [position for position in self.positions if position < end]
        self._write("w", self.positions)

    def _write(self, mode: str, positions: Sequence[int]) -> None:
        with open(self._path, mode, encoding="ascii") as stream:
            stream.writelines(f"{position}\n" for position in positions)
            stream.flush()
            os.fsync(stream.fileno())


def position_of(count: int, left_out: Sequence[int]) -> int:
    """Return the position after that of record `count` - 1, where `left_out` have no record."""
    position = count
    for other in left_out:
        if other >= position:
            break
        position += 1
    return position
