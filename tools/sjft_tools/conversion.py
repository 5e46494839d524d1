"""From an ImageSet to an image LMDB: read, map, write."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft_tools.command import progress
from sjft_tools.image_files import Storage, stored_image
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.image_sets import Entry, ImageSet

#: If not one of so many images can be read, the paths are wrong and not the images.
_HOPELESS = 100


class Prepared(NamedTuple):
    """A Datum's bytes, or why there are none."""

    value: bytes
    label: int
    problem: str


def prepare(entry: Entry, storage: Storage) -> Prepared:
    """Read one image and return its record; depends on nothing else, so it can run anywhere."""
    try:
        with open(entry.path, "rb") as stream:
            stored = stored_image(stream.read(), entry.path, storage)
    except OSError as error:
        problem = f"{entry.path} cannot be read: {error.strerror}"
        return Prepared(b"", entry.label, problem)
    except InputError as error:
        return Prepared(b"", entry.label, str(error))
    value = encoded_datum(stored.content, entry.label, stored.height, stored.width)
    return Prepared(value, entry.label, "")


def write_images(
    images: ImageSet, path: str, storage: Storage, skip_bad: bool, force: bool
) -> tuple[np.ndarray, int]:
    """Write the image LMDB `path`; return its labels, int32, and how many images were left out.

    An image that cannot be read is named: in the InputError that it raises, or, if `skip_bad`, on
    standard error. Raises InputError as well if none can be read or `path` exists without `force`.
    """
    left_out = 0
    with ImageLmdbWriter(path, images.class_names, force) as writer:
        bar = progress(images.entries, "convert")
        for entry in bar:
            prepared = prepare(entry, storage)
            if not prepared.problem:
                writer.add(prepared.value, prepared.label)
                continue
            if not skip_bad:
                raise InputError(prepared.problem)
            left_out += 1
            bar.write(f"left out: {prepared.problem}", file=sys.stderr)
            if writer.count == 0 and left_out == min(_HOPELESS, len(images.entries)):
                raise InputError(
                    f"none of the first {left_out} images can be read, the last because "
                    f"{prepared.problem}"
                )
        writer.info["left_out"] = left_out
    return writer.labels, left_out
