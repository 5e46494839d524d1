"""Whether there is room for what a step will write, before it starts.

Estimates are low rather than high where little is known: a step is refused only if it could not
have ended well. One that runs out of room all the same says so itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.experiment.settings import option_values
from sjft_tools.experiment.step import Step
from sjft_tools.training.histories import histories, solver_class
from sjft_tools.training.snapshots import snapshot_files
from sjft_tools.work_folder import default_work

#: Pictures, reports, logs: what every step writes at most, if not more.
LITTLE = 4 << 20
_PER_CANDIDATE = (
    2 * 20 + 8
)  # bytes: in shards and in what joins them (docs/scaling.md), and at last
_PER_TARGET = 4096  # an LMDB's page
_PER_SCORE = 2 * 4  # bytes: in the work, and at last
_BYTES_PER_PIXEL = 0.2  # of a JPEG with the quality of 'sjft convert', at least
_WIDER = 4 / 3  # than high
_BLOCK = 512  # bytes, of st_blocks: a file may have holes


def check_room(step: Step, folder: str, needed: int) -> None:
    """Raise InputError unless the file system of `folder` has `needed` bytes free."""
    system = os.statvfs(folder)
    if not system.f_blocks:  # it does not say
        return
    free = system.f_bavail * system.f_frsize
    if needed > free:
        raise InputError(
            f"the step '{step.line}' writes about {size_words(needed)}, but only "
            f"{size_words(free)} are free on the file system of {folder}: expected more room; make "
            f"some, then give the same command again"
        )


def begun(step: Step) -> int:
    """Return the bytes that unfinished work of a step takes already: it goes on from there."""
    return sum(
        os.lstat(os.path.join(parent, name)).st_blocks * _BLOCK
        for output in step.outputs
        for parent, _, names in os.walk(default_work(output))
        for name in names
    )


def size_words(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("bytes", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def converted(words: Sequence[str]) -> int:
    """Return the bytes that 'sjft convert' writes, `words` being an Experiment's.

    Known of folders, as they are or scaled down, and of joined LMDBs; 0 for other sets, of whose
    downloads a part may be taken.
    """
    places = [word for word in words[1:] if os.path.exists(word)]
    if words[0] == "folder":
        sizes = list(_file_sizes(places[:1]))
        side = _option(words, "--resize")
        shorter = _option(words, "--resize-shorter")
        pixels = side * side or shorter * shorter * _WIDER
        most = len(sizes) * pixels * _BYTES_PER_PIXEL
        return int(min(sum(sizes), most) if pixels else sum(sizes))
    if words[0] == "joined" and not _option(words, "--resize", "--resize-shorter"):
        return sum(_file_sizes(places))
    return 0


def _option(words: Sequence[str], *names: str) -> int:
    """Return the number that follows an option, 0 if it is not given."""
    numbers = (int(value) for value in option_values(words, names) if value.isdecimal())
    return next(numbers, 0)


def _file_sizes(places: Sequence[str]) -> Iterator[int]:
    for place in places:
        for parent, _, files in os.walk(place):
            for name in files:
                path = os.path.join(parent, name)
                if os.path.exists(path):
                    yield os.path.getsize(path)


def retrieved(target: str, k: int) -> int:
    """Return the bytes of the K nearest of every image of the LMDB `target`, and of their work."""
    return ImageLmdb(target, "target").count * (k * _PER_CANDIDATE + _PER_TARGET)


def scored(images: str, classes: int) -> int:
    """Return the bytes of the scores of all images of an LMDB, and of their work."""
    return ImageLmdb(images).count * classes * _PER_SCORE


def snapshots(solver: Any, weights: int) -> int:
    """Return the bytes of the snapshots that a training run has still to write.

    `solver`: its SolverParameter; `weights`: the bytes of the net's weights, which a snapshot holds
    once in the model, and as often in the state as this type of solver keeps histories of them.
    """
    newest = max((file.iteration for file in snapshot_files(solver.snapshot_prefix)), default=0)
    last, interval = solver.max_iter, solver.snapshot
    iterations = {*range(interval, last, interval), last} if interval > 0 else {last}
    copies = 1 + (histories(solver_class(solver)) or 1)
    return copies * weights * sum(iteration > newest for iteration in iterations)
