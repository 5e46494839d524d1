"""Reading an image LMDB: Caffe Datum records with a label each."""

from __future__ import annotations

import numpy as np

from sjft.errors import InputError
from sjft.images import decode_datum
from sjft.record_lmdb import RecordLmdb
from sjft.side_file import IMAGES

LABELS_FILE = "sjft_labels.npy"


class ImageLmdb(RecordLmdb):
    """A folder with ``data.mdb``, ``sjft.json`` and ``sjft_labels.npy``.

    Attributes besides those of RecordLmdb: `labels`, int32 (count,), from 0, read without touching
    the images; `class_names`, one per label, or empty; `fingerprint` of the contents.
    """

    def __init__(self, path: str, role: str = "image") -> None:
        """Open and verify. `role` ("target", "source") names the LMDB in messages.

        Raises InputError if the LMDB is missing, empty or truncated, lacks its side files, is not
        the one that they describe, or has a negative label.
        """
        super().__init__(path, role, IMAGES)
        self.class_names: list[str] = self.info["class_names"]
        self.fingerprint: str = self.info["fingerprint"]
        self.labels: np.ndarray = self._load(LABELS_FILE)
        if self.labels.min() < 0:
            i = int(self.labels.argmin())
            raise InputError(f"{self.name(i)} has the label {self.labels[i]}: expected 0 or more")

    def image(self, i: int) -> np.ndarray:
        """Return record `i` decoded: H x W x 3 uint8, BGR. Raises InputError naming the image."""
        return decode_datum(self.value(i), self.name(i))[0]
