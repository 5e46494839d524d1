"""Outputs that appear under their final name only when complete.

Work goes on in a hidden sibling of the output, ``.NAME.partial``; a rename ends it. A sibling that
a killed run left behind is removed by the next run, and a lock on it keeps two runs apart. Work
that goes on where it was stopped lies in ``.NAME.work`` instead, which the next run finds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Callable

from sjft.errors import InputError
from sjft_tools import file_lock

_LONGEST_NAME = 255  # bytes that file systems take
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: What of the folder that resumable_folder yields becomes the output.
OUTPUT = "output"


def _sibling(path: str, suffix: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}.{suffix}")


def remove(path: str) -> None:
    """Remove a file or a folder, if there is one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def sync(path: str) -> None:
    """Wait until the file or folder `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_existing(path: str, force: bool) -> None:
    """Raise InputError if `path` exists and `force` is not set, or if nothing can be written there.

    For commands that work long before they write: new_folder and new_file check it themselves.
    """
    if not path:
        raise InputError("the output has no name: expected a path")
    longest = os.path.basename(_sibling(path, "replaced" + os.path.splitext(path)[1]))
    if len(os.fsencode(longest)) > _LONGEST_NAME:
        raise InputError(
            f"the name of the output {path} is too long: expected room for {longest}, of at most "
            f"{_LONGEST_NAME} bytes, beside it"
        )
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise InputError(f"the folder {parent} for the output does not exist: make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"the folder {parent} for the output cannot be written to: expected one that can be"
        )
    if os.path.lexists(path) and not force:
        raise InputError(f"the output {path} exists: give --force to replace it")


def refuse_outputs(paths: Iterable[str | None], force: bool) -> None:
    """Refuse several outputs as refuse_existing does, or if two are one; None stands for none."""
    given = [path for path in paths if path is not None]
    for path in given:
        refuse_existing(path, force)
    if len({os.path.realpath(path) for path in given}) < len(given):
        raise InputError("two outputs have one name: expected different ones")


@contextlib.contextmanager
def _sole_writer(path: str, force: bool) -> Iterator[None]:
    """Hold a lock that dies with this process, so that what it guards is stale when it is free."""
    refuse_existing(path, force)
    lock = _sibling(path, "lock")
    try:
        descriptor = file_lock.hold(lock)
    except (BlockingIOError, FileNotFoundError):
        raise InputError(f"another run is writing {path}: wait for it to end") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        stack.callback(os.remove, lock)
        _undo_half_replacement(path)
        refuse_existing(path, force)
        try:
            yield
        except OSError as error:
            if error.filename is None and error.errno in _NO_ROOM:
                error.filename = path  # for writing names no file
            raise


def _undo_half_replacement(path: str) -> None:
    """Mend what a kill between the two renames of _put_in_place leaves behind."""
    replaced = _sibling(path, "replaced")
    if os.path.lexists(replaced) and not os.path.lexists(path):
        os.rename(replaced, path)
    remove(replaced)


def _put_in_place(partial: str, path: str) -> None:
    replaced = _sibling(path, "replaced")
    if os.path.isdir(path) and not os.path.islink(path):
        # A folder cannot be renamed onto one that is not empty.
        os.rename(path, replaced)
    os.replace(partial, path)
    sync(os.path.dirname(os.path.abspath(path)))
    remove(replaced)


def folder_name(path: str) -> str:
    """Return `path` without a slash at its end.

    Raises InputError if it is anything but a folder, or not UTF-8, which LMDB's opening wants.
    """
    path = path.rstrip("/") or path
    try:
        os.path.abspath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"the output {path} has a name that is not UTF-8: expected another"
        ) from None
    if os.path.lexists(path) and not os.path.isdir(path):
        raise InputError(f"the output {path} exists and is not a folder: expected another name")
    return path


def _sync_folder(path: str) -> None:
    for name in os.listdir(path):
        sync(os.path.join(path, name))
    sync(path)


def tidy(path: str) -> None:
    """Remove what a run leaves that is killed right after it has put the output `path` in place."""
    with _sole_writer(path, force=True):
        pass


@contextlib.contextmanager
def _partial(path: str, force: bool, suffix: str = "") -> Iterator[str]:
    """Yield the name of a working sibling of `path`, which is gone before and after."""
    with _sole_writer(path, force):
        partial = _sibling(path, f"partial{suffix}")
        remove(partial)
        try:
            yield partial
        finally:
            remove(partial)


@contextlib.contextmanager
def new_folder(path: str, force: bool = False) -> Iterator[str]:
    """Yield an empty working folder that becomes `path` if the block ends without an exception.

    Raises InputError if `path` exists and `force` is not set, or if another run is writing it.
    """
    path = folder_name(path)
    with _partial(path, force) as partial:
        os.mkdir(partial)
        yield partial
        _sync_folder(partial)
        _put_in_place(partial, path)


@contextlib.contextmanager
def resumable_folder(path: str, force: bool, keep: Callable[[str], bool]) -> Iterator[str]:
    """Yield a working folder, as a stopped run left it, whose folder OUTPUT becomes `path`.

    The block makes OUTPUT; all else in the working folder goes when the block ends. If it ends by
    an exception and keep(working folder) is true, everything stays for the next run, as it does
    after a kill. Raises InputError as new_folder does.
    """
    path = folder_name(path)
    with _sole_writer(path, force):
        work = _sibling(path, "work")
        os.makedirs(work, exist_ok=True)
        try:
            yield work
            output = os.path.join(work, OUTPUT)
            _sync_folder(output)
            _put_in_place(output, path)
        except BaseException:
            if not keep(work):
                remove(work)
            raise
        remove(work)


@contextlib.contextmanager
def new_file(path: str, force: bool = False) -> Iterator[str]:
    """Yield the name of a working file that becomes `path` if the block ends without an exception.

    The working name keeps the suffix of `path`, for writers that go by it. Raises InputError as
    new_folder does.
    """
    if os.path.isdir(path):
        raise InputError(f"the output {path} is a folder: expected the name of a file")
    with _partial(path, force, os.path.splitext(path)[1]) as partial:
        yield partial
        sync(partial)
        _put_in_place(partial, path)


def write_file(path: str, content: bytes, force: bool = False) -> None:
    """Write `content` as the file `path`. Raises InputError as new_folder does."""
    with new_file(path, force) as partial, open(partial, "wb") as stream:
        stream.write(content)


@contextlib.contextmanager
def new_files_in(folder: str, marker: str, force: bool = False) -> Iterator[str]:
    """Yield a working folder whose files move into the existing `folder` if the block succeeds.

    The file `marker` vouches for the others: it is moved last, and an old one is removed first.
    Raises InputError if there is an old one and `force` is not set, or if another run writes it.
    """
    path = os.path.join(folder, marker)
    with _partial(path, force) as partial:
        os.mkdir(partial)
        yield partial
        names = sorted(os.listdir(partial), key=marker.__eq__)
        for name in names:
            sync(os.path.join(partial, name))
        remove(path)
        for name in names:
            os.replace(os.path.join(partial, name), os.path.join(folder, name))
        sync(folder)
