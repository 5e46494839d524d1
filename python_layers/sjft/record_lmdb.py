"""What both kinds of LMDB share: records by position, and a side file that vouches for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import lmdb
import numpy as np

from sjft.errors import InputError, why_unread
from sjft.lmdb_env import close_env, env_identity, open_env
from sjft.side_file import probe, read_side_file

KEYS_FILE = "sjft_keys.npy"

#: Keys that sjft writes: the running number, zero-padded so that key order is numeric order.
KEY_FORMAT = "%010d"


class RecordLmdb:
    """A folder with ``data.mdb`` and ``sjft.json``; record i is the i-th in key order, from 0.

    Attributes: `path` and `role`, how messages name it; `folder`, the same path from the root, so
    that it stays the same when the process changes its current folder; `count`, the number of
    records; `info`, the content of the side file.

    An instance made before a fork may be used after it: the LMDB itself is opened anew in every
    process that reads records. Every read makes sure that nobody has written since the first one.
    """

    def __init__(self, path: str, role: str, file_format: str) -> None:
        """Open and verify.

        Raises InputError if the LMDB is missing, empty or truncated, lacks its side file, is of
        another kind, or is not the one that its side file describes.
        """
        self.path = path
        self.role = role
        self.folder = os.path.abspath(path)
        self._env: lmdb.Environment | None = None
        self._pid = 0
        self._identity: tuple[int, int] | None = None
        self._txnid = 0  # number of the last transaction that wrote
        entries = self._environment().stat()["entries"]
        if entries == 0:
            raise InputError(f"the {role} LMDB {path} is empty: expected at least one record")
        self.info: dict[str, Any] = read_side_file(path, file_format, role)
        self.count: int = self.info["count"]
        self._keys: np.ndarray | None = None
        if self.info["key_format"] != KEY_FORMAT:
            self._keys = self._load(KEYS_FILE)
        if entries != self.count or probe(self.count, self.key, self.value) != self.info["probe"]:
            raise InputError(
                f"the {role} LMDB {path} is not the one that its sjft.json describes ({entries} "
                f"records, {self.count} described): it was changed since, expected it unchanged"
            )

    def _environment(self) -> lmdb.Environment:
        if self._env is None or self._pid != os.getpid():
            self._env = open_env(self.path, self.role, self.folder)
            self._pid = os.getpid()
            self._check_unchanged(self._env)
        return self._env

    def _check_unchanged(self, env: lmdb.Environment) -> None:
        """Refuse another LMDB that was put in this one's place, which a new process would read."""
        identity, txnid = env_identity(self.folder), env.info()["last_txnid"]
        if self._identity is None:
            self._identity, self._txnid = identity, txnid
        elif (self._identity, self._txnid) != (identity, txnid):
            raise self._changed()

    def _changed(self) -> InputError:
        return InputError(
            f"the {self.role} LMDB {self.path} was replaced or changed while it was in use: "
            f"expected it unchanged until the end of the run"
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        """A transaction in which to read what was there at the first opening, or an InputError."""
        try:
            with self._environment().begin() as transaction:
                if transaction.id() != self._txnid:  # one sees the newest state of the file
                    raise self._changed()
                yield transaction
        except lmdb.MapResizedError:  # it grew
            raise self._changed() from None
        except lmdb.Error as error:
            raise InputError(
                f"the {self.role} LMDB {self.path} cannot be read ({error}): expected it whole, "
                f"and unchanged until the end of the run"
            ) from None

    def _load(self, name: str) -> np.ndarray:
        file = os.path.join(self.path, name)
        try:
            array = np.load(os.path.join(self.folder, name), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:  # EOFError: an empty file
            raise InputError(f"{file} cannot be read: {why_unread(error)}") from None
        if array.shape != (self.count,):
            raise InputError(f"{file} has shape {array.shape}, expected ({self.count},)")
        return array

    def __len__(self) -> int:
        return self.count

    def key(self, i: int) -> bytes:
        """Return the key of record `i`."""
        if self._keys is not None:
            return bytes(self._keys[i])
        return (KEY_FORMAT % i).encode()

    def name(self, i: int) -> str:
        """Return how messages name record `i`."""
        return f"record {i} (key {self.key(i).decode(errors='replace')}) of {self.path}"

    def value(self, i: int) -> bytes:
        """Return the Datum bytes of record `i`.

        Raises InputError if the record is missing, or the LMDB was changed since it was opened.
        """
        with self._reading() as transaction:
            value = transaction.get(self.key(i))
        if value is None:
            raise InputError(
                f"{self.name(i)} is missing: the LMDB was changed since it was written"
            )
        return value

    def values(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the Datum bytes of records start..stop-1, in one pass of a cursor.

        Raises InputError if one is missing, or the LMDB was changed since it was opened.
        """
        stop = self.count if stop is None else stop
        if start >= stop:
            return
        with self._reading() as transaction, transaction.cursor() as cursor:
            found = cursor.set_key(self.key(start))
            for i in range(start, stop):
                if not found:
                    raise InputError(f"{self.name(i)} is missing: the LMDB is shorter than it was")
                yield cursor.value()
                found = cursor.next()
        if self._environment().info()["last_txnid"] != self._txnid:
            raise self._changed()  # no lock keeps a writer from the pages that were being read

    def close(self) -> None:
        """Close the LMDB in this process; the next read opens it again."""
        if self._env is not None and self._pid == os.getpid():
            close_env(self._env)
        self._env = None
