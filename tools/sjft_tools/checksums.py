"""Checksums of bytes, arrays and files, as ``sha256:...``."""

from __future__ import annotations

import hashlib

import numpy as np

_PIECE = 1 << 20


def checksum_of(*contents: bytes | memoryview) -> str:
    """Return ``sha256:...`` of `contents`, one after the other."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def array_checksum(array: np.ndarray) -> str:
    """Return ``sha256:...`` of an array's type, shape and values."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return checksum_of(head, np.ascontiguousarray(array).data.cast("B"))


def file_checksum(path: str) -> str:
    """Return ``sha256:...`` of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
