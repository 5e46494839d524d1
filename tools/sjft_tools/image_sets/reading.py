"""The bytes of one image, from its file or from within an archive."""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from typing import BinaryIO

import cv2

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import parse_datum
from sjft_tools.image_sets import Entry

# A thousand archives, one per class, are read class by class.
_OPEN_AT_ONCE = 8


def read_content(entry: Entry) -> bytes:
    """Return the bytes of the image file. Raises InputError naming it if they cannot be read."""
    try:
        if not entry.archive:
            with open(entry.path, "rb") as stream:
                return stream.read()
        if os.path.isdir(entry.archive):
            return _image_of_record(_opened_lmdb(entry.archive), entry)
        if entry.offset < 0:
            return _opened_zip(entry.archive).read(entry.path[len(entry.archive) + 1 :])
        content = os.pread(_opened_tar(entry.archive).fileno(), entry.size, entry.offset)
    except OSError as error:
        raise InputError(f"{entry.path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InputError(f"{entry.path} cannot be read: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted; packed in an unusual way
        raise InputError(f"{entry.path} cannot be read: {error}") from None
    if len(content) != entry.size:
        raise InputError(
            f"{entry.path} cannot be read: {entry.archive} ends within it, expected {entry.size} "
            f"bytes, got {len(content)}"
        )
    return content


def _image_of_record(images: ImageLmdb, entry: Entry) -> bytes:
    """Return the image file in a record; one that holds pixels becomes a PNG."""
    datum = parse_datum(images.value(entry.offset), entry.path)
    if datum.encoded:
        return bytes(datum.data)
    return bytes(cv2.imencode(".png", images.image(entry.offset))[1])


@functools.lru_cache(maxsize=_OPEN_AT_ONCE)
def _opened_lmdb(path: str) -> ImageLmdb:
    return ImageLmdb(path)


@functools.lru_cache(maxsize=_OPEN_AT_ONCE)
def _opened_tar(path: str) -> BinaryIO:
    return open(path, "rb")


@functools.lru_cache(maxsize=_OPEN_AT_ONCE)
def _opened_zip(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
