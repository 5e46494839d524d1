"""Writing records into a new LMDB in key order, under a map that grows by itself."""

from __future__ import annotations

from typing import Any

import lmdb

from sjft.record_lmdb import KEY_FORMAT
from sjft.side_file import Fingerprint, probe

_FIRST_MAP_BYTES = 64 << 20
_COMMIT_BYTES = 32 << 20


class LmdbWriter:
    """Appends records to an LMDB in the empty folder `path`; call finish() after the last.

    Records are numbered from 0; their keys are the running number unless add() is given one.
    """

    def __init__(self, path: str) -> None:
        # Nothing reads the LMDB before its folder gets its final name, so one sync at the end will do.
        self._env = lmdb.open(path, map_size=_FIRST_MAP_BYTES, sync=False, lock=False)
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        self._fingerprint = Fingerprint()
        self.count = 0

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
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value, append=True)
                break
            except lmdb.MapFullError:
                # The transaction was aborted as a whole: double the map and write it once more.
                self._env.set_mapsize(2 * self._env.info()["map_size"])
        self._pending.clear()
        self._pending_bytes = 0

    def finish(self) -> dict[str, Any]:
        """Write what is pending to the disk and close.

        Returns the entries of the side file that every LMDB has: count, fingerprint, probe.
        """
        self._commit()
        self._env.sync(True)
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            keys = [key for key in cursor.iternext(keys=True, values=False)]
            check = probe(self.count, keys.__getitem__, lambda i: transaction.get(keys[i], b""))
        if len(keys) != self.count:
            raise RuntimeError(f"{self.count} records were added, the LMDB holds {len(keys)}")
        self.close()
        return {"count": self.count, "fingerprint": self._fingerprint.text(), "probe": check}

    def close(self) -> None:
        """Close without finishing."""
        self._env.close()
