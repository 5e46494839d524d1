"""Reading a neighbour LMDB: for every target image its nearest source images, nearest first.

Each record is a Caffe Datum, so that any user of Caffe can read it: ``channels`` = K, ``height`` =
1, ``width`` = 8, ``data`` = K little-endian int64 positions in the source LMDB's key order (K x 1 x
8 bytes, as the three sizes say), ``float_data`` = the K distances, ``label`` = the target's label.
Its key is the target image's key.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import parse_datum
from sjft.record_lmdb import RecordLmdb
from sjft.side_file import NEIGHBOURS


class NeighbourLmdb(RecordLmdb):
    """The folder that ``sjft retrieve`` wrote.

    Attributes besides those of RecordLmdb: `k`, the neighbours kept per target image; `info` holds
    bank, bins, checksums, the fingerprints of both image LMDBs and the tool's version.
    """

    def __init__(self, path: str) -> None:
        """Open and verify. Raises InputError if missing, empty, truncated or of another kind."""
        super().__init__(path, "neighbour", NEIGHBOURS)
        self.k: int = self.info["k"]

    def _datum(self, i: int) -> Any:
        datum = parse_datum(self.value(i), self.name(i))
        if len(datum.data) != 8 * self.k or len(datum.float_data) != self.k:
            raise InputError(
                f"{self.name(i)} does not hold the {self.k} neighbours that sjft.json says: run "
                f"'sjft retrieve' again"
            )
        return datum

    def indices(self, i: int, k: int | None = None) -> np.ndarray:
        """Return the first `k` (all, if None) neighbours of target image `i`, nearest first.

        int64 (k,): positions in the source LMDB's key order.
        """
        return np.frombuffer(self._datum(i).data, "<i8")[:k]

    def distances(self, i: int, k: int | None = None) -> np.ndarray:
        """Return the distances that belong to indices(), float32 (k,), ascending."""
        return np.array(self._datum(i).float_data[:k], np.float32)

    def read_ahead(self, start: int, stop: int) -> None:
        """Bring records start..stop-1 from the disk into the system's cache at one go.

        Without it a pass over all records waits for each page of 4 KiB alone: LMDBs are opened for
        random access. `sjft retrieve` writes the records, all of one size, in their order.
        """
        with open(os.path.join(self.folder, "data.mdb"), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            first, end = (size * i // self.count for i in (start, stop))
            file.seek(first)
            file.read(end - first)

    def check_matches(self, target: ImageLmdb, source: ImageLmdb) -> None:
        """Raise InputError unless the neighbours were computed for these two image LMDBs."""
        found = (self.info["target_fingerprint"], self.info["source_fingerprint"])
        if found == (source.fingerprint, target.fingerprint) and found[0] != found[1]:
            raise InputError(
                f"target and source are swapped: {self.path} holds the neighbours that the images "
                f"of {source.path} have in {target.path}"
            )
        for lmdb, fingerprint in ((target, found[0]), (source, found[1])):
            if lmdb.fingerprint != fingerprint:
                raise InputError(
                    f"{self.path} was computed for another {lmdb.role} LMDB than {lmdb.path} "
                    f"(fingerprint {fingerprint[:15]}..., not {lmdb.fingerprint[:15]}...): run "
                    f"'sjft retrieve' again"
                )
