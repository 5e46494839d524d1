"""Reading an image LMDB: Caffe Datum records with a label each."""

from __future__ import annotations

import os

import numpy as np

from sjft.errors import InputError
from sjft.images import decode_datum
from sjft.record_lmdb import RecordLmdb
from sjft.side_file import IMAGES

LABELS_FILE = "sjft_labels.npy"
SIDES_FILE = "sjft_sides.npy"


class ImageLmdb(RecordLmdb):
    """A folder with ``data.mdb``, ``sjft.json``, ``sjft_labels.npy`` and ``sjft_sides.npy``.

    Attributes besides those of RecordLmdb: `labels`, int32 (count,), from 0, and `sides`, int32
    (count,), the images' shorter sides in pixels, 0 for one that is not known, read without
    touching the images; `sides` is None where nobody wrote them down. `class_names`, one per label,
    or empty; `fingerprint` of the contents.
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
        has_sides = os.path.exists(os.path.join(self.folder, SIDES_FILE))
        self.sides: np.ndarray | None = self._load(SIDES_FILE) if has_sides else None
        if self.labels.min() < 0:
            i = int(self.labels.argmin())
            raise InputError(f"{self.name(i)} has the label {self.labels[i]}: expected 0 or more")

    def image(self, i: int) -> np.ndarray:
        """Return record `i` decoded: H x W x 3 uint8, BGR. Raises InputError naming the image."""
        return decode_datum(self.value(i), self.name(i))[0]
