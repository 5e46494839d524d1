"""The work folder of a retrieval: the hidden sibling of the output in which shards gather."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sjft.errors import InputError
from sjft_tools import file_lock
from sjft_tools.json_file import read_json
from sjft_tools.retrieval.inputs import Paths
from sjft_tools.retrieval.plan import Plan
from sjft_tools.work_folder import PLAN_FILE, WorkFolder, hold, put_file

FORMAT = "sjft retrieval 1"
# All that the folder may hold.
_OURS = re.compile(
    r"plan\.json|prepared\.json|(targets|limits)\.npy|(shard|again)-\d+\.(npz|json)"
    r"|lock|plan\.lock|part-\d+-of-\d+\.lock|\..*\.partial"
)


class RetrievalFolder(WorkFolder):
    """A work folder of a retrieval, which several runs may share."""

    def parts(self) -> set[int]:
        """Return into how many parts the runs that shared the folder cut the work."""
        found = (re.fullmatch(r"part-\d+-of-(\d+)\.lock", name) for name in os.listdir(self.path))
        return {int(match[1]) for match in found if match}

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Wait until no other run that shares the folder does `what`, and keep others from it."""
        file = self.file(f"{what}.lock")
        with open(file, "w", encoding="ascii") as stream:
            try:
                file_lock.lock(stream.fileno(), file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waits for another run that does the {what} of {self.path}", file=sys.stderr)
                file_lock.lock(stream.fileno(), file, fcntl.LOCK_EX)
            yield

    def claim(self, what: str) -> Any:
        """Return a file whose being open keeps other runs from doing `what`, a file's name.

        Raises InputError if one does it already.
        """
        file = self.file(f"{what}.lock")
        stream = open(file, "w", encoding="ascii")  # noqa: SIM115
        try:
            file_lock.lock(stream.fileno(), file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise InputError(
                f"another run is doing {what} in {self.path}: wait for it to end"
            ) from None
        return stream


@contextlib.contextmanager
def hold_retrieval(path: str, output: str, shared: bool) -> Iterator[RetrievalFolder]:
    """Hold the work folder `path` of the neighbour LMDB `output`: see work_folder.hold."""
    with hold(path, output, _OURS, shared, ", or another --work"):
        yield RetrievalFolder(path)


def write_plan(folder: RetrievalFolder, plan: Plan, paths: Paths) -> None:
    """Write plan.json."""
    content = {"format": FORMAT, "plan": asdict(plan), "paths": asdict(paths)}
    put_file(folder.file(PLAN_FILE), (json.dumps(content, indent=2) + "\n").encode())


def read_plan(path: str) -> tuple[Plan, Paths] | None:
    """Return the plan of the work folder `path` and its inputs; None if there is none.

    Raises InputError if plan.json is not one that this version of sjft can read.
    """
    file = os.path.join(path, PLAN_FILE)
    try:
        content = read_json(file)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        return Plan(**content["plan"]), Paths(**content["paths"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not the plan of a retrieval that this sjft began ({error}): remove "
            f"{path}, or give another --work"
        ) from None
