"""``sjft.json``, the side file in an LMDB's folder: what the LMDB holds, and how to tell it.

Caffe ignores it. docs/formats.md describes its keys.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Callable

from sjft.errors import InputError, why_unread

SIDE_FILE = "sjft.json"
IMAGES = "sjft image lmdb 1"
NEIGHBOURS = "sjft neighbour lmdb 1"

_OF_BOTH = {"count": int, "key_format": (str, type(None)), "fingerprint": str, "probe": str}
_REQUIRED: dict[str, dict[str, Any]] = {
    IMAGES: {**_OF_BOTH, "class_names": list},
    NEIGHBOURS: {**_OF_BOTH, "k": int, "target_fingerprint": str, "source_fingerprint": str},
}

_PROBES = 16


class Fingerprint:
    """SHA-256 over the records of an LMDB in key order.

    Each key and each value enters as its length (8 bytes, little-endian) and its bytes.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, key: bytes, value: bytes) -> None:
        """Take in the next record."""
        for part in (key, value):
            self._hash.update(len(part).to_bytes(8, "little"))
            self._hash.update(part)

    def text(self) -> str:
        """Return ``sha256:`` and 64 hexadecimal digits."""
        return "sha256:" + self._hash.hexdigest()


def probe_positions(count: int) -> list[int]:
    """Return the positions of at most 16 records, first and last included, spread evenly."""
    return sorted({i * (count - 1) // (_PROBES - 1) for i in range(_PROBES)})


def probe(count: int, key: Callable[[int], bytes], value: Callable[[int], bytes]) -> str:
    """Return the fingerprint of the records at probe_positions.

    It is cheap enough to be compared at every opening, where the whole fingerprint is not.
    """
    fingerprint = Fingerprint()
    for i in probe_positions(count):
        fingerprint.add(key(i), value(i))
    return fingerprint.text()


def read_side_file(path: str, expected_format: str, role: str) -> dict[str, Any]:
    """Read the side file of the LMDB in the folder `path`.

    Raises InputError if it is missing or is not of `expected_format`; `role` names the LMDB.
    """
    file = os.path.join(path, SIDE_FILE)
    try:
        with open(file, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError:
        remedy = (
            f"run 'sjft index {path}' if Caffe's own tools made it"
            if expected_format == IMAGES
            else "expected an LMDB that 'sjft retrieve' wrote"
        )
        raise InputError(f"the {role} LMDB {path} has no {SIDE_FILE}: {remedy}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{file} cannot be read: {why_unread(error)}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise InputError(
            f"{path} is not usable as the {role} LMDB: its {SIDE_FILE} says format "
            f"{found!r}, expected {expected_format!r}"
        )
    for key, kind in _REQUIRED[expected_format].items():
        if key not in content:
            raise InputError(f"{file} lacks the key '{key}': expected a file that sjft wrote")
        if not isinstance(content[key], kind):
            raise InputError(
                f"{file} says {key} {content[key]!r}: expected a file that sjft wrote, unchanged"
            )
    return content


def write_side_file(path: str, content: dict[str, Any]) -> None:
    """Write the side file into the folder `path` (one that is not yet under its final name)."""
    with open(os.path.join(path, SIDE_FILE), "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, ensure_ascii=False)
        stream.write("\n")
