"""Writing records into a new LMDB in key order, under a map that grows by itself."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from sjft.errors import InputError
from sjft.record_lmdb import KEY_FORMAT
from sjft.side_file import SIDE_FILE, Fingerprint, probe
from sjft_tools.atomic import new_folder
from sjft_tools.json_file import read_json
from sjft_tools.npz import npy_bytes

_FIRST_MAP_BYTES = 64 << 20
_COMMIT_BYTES = 32 << 20

# What lies in the folder of an LMDB: LMDB's own files and the side files, unfinished ones too.
_LMDB_FILES = ("data.mdb", "lock.mdb")
_SIDE_FILES = ("sjft_", "sjft.json")


class LmdbWriter:
    """Appends records to an LMDB in the empty folder `path`; call finish() after the last.

    Records are numbered from 0; their keys are the running number unless add() is given one. A full
    disk raises OSError. A `resumable` one may be stopped at any instant, and opened again: whoever
    opens it calls take_in(), and adds what comes after the records that are there. It ends as the
    same file, to the byte, wherever it was stopped.
    """

    def __init__(self, path: str, resumable: bool = False) -> None:
        self._path = path
        self._resumable = resumable
        self._open()
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        self._fingerprint = Fingerprint()
        self.count = 0

    def _open(self) -> None:
        # Where nothing goes on from an unfinished LMDB, one sync at the end will do.
        self._env = lmdb.open(
            self._path, map_size=_FIRST_MAP_BYTES, sync=self._resumable, lock=False
        )

    @property
    def committed(self) -> int:
        """The number of records that outlast a kill."""
        return int(self._env.stat()["entries"])

    def take_in(self) -> Iterator[bytes]:
        """Yield the values of the records that are there, counting them."""
        with self._env.begin() as transaction:
            for key, value in transaction.cursor():
                self._fingerprint.add(key, value)
                self.count += 1
                yield value

    def add(self, value: bytes, key: bytes = b"") -> None:
        """Append a record; `key`, if given, must sort after all before it."""
        key = key or (KEY_FORMAT % self.count).encode()
        self._fingerprint.add(key, value)
        self._pending.append((key, value))
        self._pending_bytes += len(value)
        self.count += 1
        if self._pending_bytes >= _COMMIT_BYTES:
            self._commit()

    def _commit(self) -> None:
        while True:
            try:
                with _disk_errors(self._path, self._pending_bytes):
                    self._put_pending()
                break
            except lmdb.MapFullError:
                # The transaction was aborted as a whole: double the map and write it once more.
                self._env.set_mapsize(2 * self._env.info()["map_size"])
        self._pending.clear()
        self._pending_bytes = 0
        if self._resumable:
            # LMDB remembers free pages while it is open. Opened anew for every commit, it takes the
            # same pages whether or not this process is the one that began.
            self._env.close()
            self._open()

    def _put_pending(self) -> None:
        with self._env.begin(write=True) as transaction:
            for key, value in self._pending:
                if not transaction.put(key, value, append=True):
                    raise ValueError(f"the key {key!r} was added twice")

    def finish(self) -> dict[str, Any]:
        """Write what is pending to the disk and close.

        Returns the entries of the side file that every LMDB has: count, fingerprint, probe.
        """
        self._commit()
        with _disk_errors(self._path, 0):
            self._env.sync(True)
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            keys = list(cursor.iternext(keys=True, values=False))
            check = probe(self.count, keys.__getitem__, lambda i: transaction.get(keys[i], b""))
        if len(keys) != self.count:
            raise RuntimeError(f"{self.count} records were added, the LMDB holds {len(keys)}")
        self.close()
        return {"count": self.count, "fingerprint": self._fingerprint.text(), "probe": check}

    def close(self) -> None:
        """Close without finishing."""
        self._env.close()


@contextlib.contextmanager
def new_lmdb(path: str, force: bool, kind: str) -> Iterator[tuple[str, LmdbWriter]]:
    """Yield a working folder that becomes `path`, as new_folder does, and an LMDB's writer in it.

    `kind` is the format that its side file will state. Raises InputError if `path` exists and
    `force` is not set, or holds anything but an LMDB of that kind.
    """
    if force:
        refuse_other_contents(path, kind)
    with new_folder(path, force) as folder, contextlib.closing(LmdbWriter(folder)) as writer:
        yield folder, writer


def save_array(file: str, array: np.ndarray) -> None:
    """Write `array` as the .npy file `file`."""
    Path(file).write_bytes(npy_bytes(array))


def refuse_other_contents(path: str, kind: str) -> None:
    """Keep --force from replacing a folder of images, a home folder or an input by an LMDB.

    Raises InputError if the folder `path` exists and holds anything but an LMDB, or one whose side
    file states another format than `kind`.
    """
    for name in os.listdir(path) if os.path.isdir(path) else ():
        if name not in _LMDB_FILES and not name.lstrip(".").startswith(_SIDE_FILES):
            raise InputError(
                f"the output {path} is a folder that holds {name!r}: --force replaces only an LMDB"
            )
    stated = kind
    # without a readable side file it states nothing
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stated = read_json(Path(path, SIDE_FILE)).get("format", kind)
    if stated != kind:
        raise InputError(
            f"the output {path} has the format {stated!r}: --force replaces only {kind!r}"
        )


@contextlib.contextmanager
def _disk_errors(path: str, expected_bytes: int) -> Iterator[None]:
    """Turn LMDB's errors of a disk that is full or broken into OSError naming `path`.

    LMDB reports a write that was cut short, which a full disk does, as EIO: whether
    `expected_bytes` more have room tells the one from the other.
    """
    try:
        yield
    except lmdb.Error as error:
        for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            # the error's number is in its text only, in older versions of py-lmdb
            if os.strerror(number) in str(error):
                space = os.statvfs(path)
                if number == errno.EIO and space.f_bavail * space.f_frsize < expected_bytes:
                    number = errno.ENOSPC
                raise OSError(number, os.strerror(number), path) from None
        raise
