"""Writing an image LMDB: Datum records with labels, and the side files beside them."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from sjft import __version__
from sjft.errors import InputError
from sjft.image_lmdb import LABELS_FILE, SIDES_FILE
from sjft.messages import Datum
from sjft.record_lmdb import KEY_FORMAT
from sjft.side_file import IMAGES, write_side_file
from sjft_tools.lmdb_writer import new_lmdb, save_array


def encoded_datum(image_bytes: bytes, label: int, height: int = 0, width: int = 0) -> bytes:
    """Return the bytes of a Datum that holds an image file's bytes as they are.

    `label` counts from 0; `height` and `width` in pixels are for the record's readers only.
    """
    datum = Datum(data=image_bytes, label=label, encoded=True)
    if height and width:
        datum.channels, datum.height, datum.width = 3, height, width
    return datum.SerializeToString()


def side_in(value: bytes) -> int:
    """Return the shorter side in pixels that a Datum's bytes state, 0 if they state none."""
    datum = Datum.FromString(value)
    return min(datum.height, datum.width)


def write_image_side_files(
    folder: str,
    info: dict[str, Any],
    labels: np.ndarray,
    class_names: Sequence[str],
    sides: np.ndarray | None = None,
) -> None:
    """Write ``sjft_labels.npy``, ``sjft_sides.npy`` and ``sjft.json`` of an image LMDB.

    `info`: what LmdbWriter.finish returned, "key_format" if the keys are not the running number,
    and whatever else the side file is to record; `labels`: int32 (count,); `class_names`: one per
    label, or empty; `sides`: int32 (count,), as ImageLmdb has them.
    """
    save_array(os.path.join(folder, LABELS_FILE), labels)
    if sides is not None:
        save_array(os.path.join(folder, SIDES_FILE), sides)
    content = {
        "format": IMAGES,
        "key_format": KEY_FORMAT,
        **info,
        "class_names": list(class_names),
        "written_by": f"sjft {__version__}",
    }
    write_side_file(folder, content)


class ImageLmdbWriter:
    """A context manager: ``with ImageLmdbWriter(path) as writer: writer.add(value, label)``.

    The folder appears under `path` when the block ends without an exception.
    """

    def __init__(self, path: str, class_names: Sequence[str] = ()) -> None:
        """Raises InputError, on entering, if `path` exists."""
        self._path = path
        self._class_names = class_names
        self._labels = array("i")
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> ImageLmdbWriter:
        lmdb = new_lmdb(self._path, force=False, kind=IMAGES)
        self._folder, self._writer = self._exit.enter_context(lmdb)
        return self

    def add(self, value: bytes, label: int) -> None:
        """Append a record: the bytes of a Datum whose label is `label`, from 0."""
        self._writer.add(value)
        self._labels.append(label)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._exit:
            if error is not None:
                # Leaving by the exception makes new_folder remove what was written.
                raise error
            if not self._labels:
                raise InputError(f"no image was given for {self._path}: expected at least one")
            labels = np.array(self._labels, np.int32)
            write_image_side_files(self._folder, self._writer.finish(), labels, self._class_names)
