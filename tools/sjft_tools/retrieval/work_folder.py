"""The work folder of a retrieval: the hidden sibling of the output in which shards gather."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft_tools.retrieval.inputs import Paths
from sjft_tools.retrieval.plan import Plan

FORMAT = "sjft retrieval 1"
PLAN_FILE = "plan.json"
_LOCK = "lock"
# All that a work folder may hold: a finished run removes it with everything in it.
_OURS = re.compile(
    r"plan\.json|prepared\.json|(targets|limits)\.npy|(shard|again)-\d+\.(npz|json)"
    r"|lock|plan\.lock|part-\d+-of-\d+\.lock|\..*\.partial"
)


def default_work(output: str) -> str:
    """Return the work folder of the output folder `output`: ``.NAME.work`` beside it."""
    parent, name = os.path.split(os.path.abspath(output))
    return os.path.join(parent, f".{name}.work")


def put_file(path: str, content: bytes) -> None:
    """Write the file `path` under a name of its own, and rename it when it is on the disk.

    Several processes may write the same file: one whole file is there in the end.
    """
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def checksum_of(*contents: bytes | memoryview) -> str:
    """Return ``sha256:...`` of `contents`, one after the other."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def array_checksum(array: np.ndarray) -> str:
    """Return ``sha256:...`` of an array's type, shape and values."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return checksum_of(head, np.ascontiguousarray(array).data.cast("B"))


class WorkFolder:
    """A work folder that is held by this process; see hold()."""

    def __init__(self, path: str) -> None:
        self.path = path

    def file(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.path, name)

    def clear(self) -> None:
        """Remove everything in the folder but its lock."""
        for name in os.listdir(self.path):
            if name != _LOCK:
                os.remove(self.file(name))

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def parts(self) -> set[int]:
        """Return into how many parts the runs that shared the folder cut the work."""
        found = (re.fullmatch(r"part-\d+-of-(\d+)\.lock", name) for name in os.listdir(self.path))
        return {int(match[1]) for match in found if match}

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Wait until no other run that shares the folder does `what`, and keep others from it."""
        with open(self.file(f"{what}.lock"), "w", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def claim(self, what: str) -> Any:
        """Return a file whose being open keeps other runs from doing `what`, a file's name.

        Raises InputError if one does it already.
        """
        stream = open(self.file(f"{what}.lock"), "w", encoding="ascii")  # noqa: SIM115
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise InputError(
                f"another run is doing {what} in {self.path}: wait for it to end"
            ) from None
        return stream


@contextlib.contextmanager
def hold(path: str, output: str, shared: bool) -> Iterator[WorkFolder]:
    """Hold the work folder `path` of the output `output`; it is made if need be.

    `shared`: other runs that say so too may hold it at the same time. If not, an empty folder is
    gone afterwards. Raises InputError if another run holds it, if it cannot be made, or if it is a
    folder of something else.
    """
    _refuse_other_contents(path)
    descriptor = _locked(path, output, shared)
    try:
        yield WorkFolder(path)
    finally:
        with contextlib.suppress(OSError):
            if not shared and os.listdir(path) == [_LOCK]:
                os.remove(os.path.join(path, _LOCK))
                os.rmdir(path)
        os.close(descriptor)


def _refuse_other_contents(path: str) -> None:
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path):
        raise InputError(f"the work folder {path} is not a folder: expected another --work")
    for name in os.listdir(path):
        if not _OURS.fullmatch(name):
            raise InputError(
                f"the work folder {path} holds {name!r}: expected an empty folder, or one that "
                f"'sjft retrieve' made"
            )


def _locked(path: str, output: str, shared: bool) -> int:
    """Return a descriptor with the lock on the folder `path`, which is made if need be."""
    lock = os.path.join(path, _LOCK)
    while True:
        try:
            os.makedirs(path, exist_ok=True)
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # the run that held it removed the folder just now
            continue
        except OSError as error:
            raise InputError(
                f"the work folder {path} cannot be made ({error.strerror}): expected leave to "
                f"write there, or another --work"
            ) from None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(
                f"another run is working on {output} in {path}: wait for it to end"
            ) from None
        os.close(descriptor)


def write_plan(folder: WorkFolder, plan: Plan, paths: Paths) -> None:
    """Write plan.json."""
    content = {"format": FORMAT, "plan": asdict(plan), "paths": asdict(paths)}
    put_file(folder.file(PLAN_FILE), (json.dumps(content, indent=2) + "\n").encode())


def read_plan(path: str) -> tuple[Plan, Paths] | None:
    """Return the plan of the work folder `path` and its inputs; None if there is none.

    Raises InputError if plan.json is not one that this version of sjft can read.
    """
    file = os.path.join(path, PLAN_FILE)
    try:
        with open(file, encoding="utf-8") as stream:
            content = json.load(stream)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        return Plan(**content["plan"]), Paths(**content["paths"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not the plan of a retrieval that this sjft began ({error}): remove "
            f"{path}, or give another --work"
        ) from None
