"""Work folders: hidden siblings of outputs, in which a run keeps what it has for the next one."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft_tools import file_lock
from sjft_tools.npz import npy_bytes

LOCK = "lock"
PLAN_FILE = "plan.json"
_KEPT = re.compile(r"plan\.json|\d+\.(json|npy)|lock|\..*\.partial")


def default_work(output: str) -> str:
    """Return the work folder of the output `output`: ``.NAME.work`` beside it."""
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
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # for writing names no file
        raise


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
            if name != LOCK:
                os.remove(self.file(name))

    def remove(self) -> None:
        """Remove the folder and all that is in it: at the last the plan, and then the lock."""
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.path), key=[PLAN_FILE, LOCK].count):
                os.remove(self.file(name))
            os.rmdir(self.path)


@contextlib.contextmanager
def hold(
    path: str, output: str, ours: re.Pattern[str], shared: bool = False, remedy: str = ""
) -> Iterator[WorkFolder]:
    """Hold the work folder `path` of the output `output`; it is made if need be.

    `ours`: the names of all files that it may hold, for a finished run removes it with everything
    in it. `shared`: other runs that say so too may hold it at the same time. If not, an empty
    folder is gone afterwards. `remedy`: another way out, for messages. Raises InputError if another
    run holds it, if it cannot be made, or if it is a folder of something else.
    """
    _refuse_other_contents(path, ours, remedy)
    descriptor = _locked(path, output, shared, remedy)
    try:
        yield WorkFolder(path)
    finally:
        with contextlib.suppress(OSError):
            if not shared and os.listdir(path) == [LOCK]:
                os.remove(os.path.join(path, LOCK))
                os.rmdir(path)
        os.close(descriptor)


def _refuse_other_contents(path: str, ours: re.Pattern[str], remedy: str) -> None:
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path):
        raise InputError(f"the work folder {path} is not a folder: expected nothing there{remedy}")
    for name in os.listdir(path):
        if not ours.fullmatch(name):
            raise InputError(
                f"the work folder {path} holds {name!r}: expected an empty folder, or one that "
                f"the same command made{remedy}"
            )


def _locked(path: str, output: str, shared: bool, remedy: str) -> int:
    """Return a descriptor with the lock on the folder `path`, which is made if need be."""
    lock = os.path.join(path, LOCK)
    while True:
        try:
            os.makedirs(path, exist_ok=True)
            return file_lock.hold(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except FileNotFoundError:  # the run that held it removed the folder just now
            continue
        except BlockingIOError:
            raise InputError(
                f"another run is working on {output} in {path}: wait for it to end"
            ) from None
        except OSError as error:
            raise InputError(
                f"the work folder {path} cannot be made ({error.strerror}): expected leave to "
                f"write there{remedy}"
            ) from None


class Kept:
    """What an unfinished run has in its work folder: files by name, bound to what decides them.

    Attribute `written`: the outputs that a run was writing when it was killed.
    """

    def __init__(self, folder: WorkFolder, plan: dict[str, Any]) -> None:
        """`plan`: everything that decides the files, as JSON values; those of another do not count.

        Says so on standard error if there is something to go on with.
        """
        self._folder = folder
        self._plan = plan
        self.written: list[str] = []
        stored = self._stored_plan()
        self._is_ours = stored is not None and stored.get("plan") == plan
        if self._is_ours and stored is not None:
            self.written = stored["written"]
            print(f"goes on with what an unfinished run left in {folder.path}", file=sys.stderr)

    def load(self, name: str) -> bytes | None:
        """Return the file `name`; None if it is not there."""
        return self._read(name) if self._is_ours else None

    def save(self, name: str, content: bytes) -> None:
        """Keep the file `name`; the first one throws away what runs of another plan left."""
        if not self._is_ours:
            self.begin_writing(())
        put_file(self._folder.file(name), content)

    def load_array(self, name: str) -> np.ndarray | None:
        """Return the array of the .npy file `name`; None if it is not there."""
        content = self.load(name)
        array: np.ndarray | None = None
        if content is not None:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def save_array(self, name: str, array: np.ndarray) -> None:
        """Keep an array as the .npy file `name`."""
        self.save(name, npy_bytes(array))

    def begin_writing(self, outputs: Sequence[str]) -> None:
        """Note that `outputs`, paths from the root, are written from now on."""
        if not self._is_ours:
            self._folder.clear()
        self.written = list(outputs)
        text = json.dumps({"plan": self._plan, "written": self.written}, indent=1)
        put_file(self._folder.file(PLAN_FILE), text.encode())
        self._is_ours = True

    def _stored_plan(self) -> dict[str, Any] | None:
        try:
            stored = json.loads(self._read(PLAN_FILE) or b"null")
        except ValueError:
            return None
        return stored if isinstance(stored, dict) else None

    def _read(self, name: str) -> bytes | None:
        try:
            with open(self._folder.file(name), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def keeping(output: str, plan: dict[str, Any]) -> Iterator[Kept]:
    """Hold the work folder of `output` for one run; it is removed if the block ends well.

    It holds ``plan.json`` and numbered files. Raises InputError as hold() does.
    """
    with hold(default_work(output), output, _KEPT) as folder:
        yield Kept(folder, plan)
        folder.remove()
