"""Reading an LMDB of Datum records that has no side files yet, as Caffe's own tools write them."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import lmdb
import numpy as np

from sjft.errors import BadImageError, InputError
from sjft.images import decode_datum, parse_datum
from sjft.lmdb_env import close_env, open_env
from sjft.record_lmdb import KEY_FORMAT
from sjft.side_file import Fingerprint, probe
from sjft_tools.command import progress


class Contents(NamedTuple):
    """What side files tell.

    `keys`: bytes (N,), in key order; `labels`: int32 (N,); `sides`: int32 (N,), the shorter sides
    in pixels, 0 for images that cannot be decoded, of which there are `bad`; `fingerprint`,
    `probe`: see side_file.
    """

    keys: np.ndarray
    labels: np.ndarray
    sides: np.ndarray
    fingerprint: str
    probe: str
    bad: int


def read_contents(path: str, most_bad: int) -> Contents:
    """Read and decode every record of the LMDB `path`.

    An image that cannot be decoded is named on standard error. Raises InputError if there are more
    than `most_bad` of them; if the LMDB is missing, empty or truncated; or if a record is not a
    Datum or has a negative label. The record's key is named.
    """
    env = open_env(path, "image")
    try:
        with env.begin() as transaction:
            return _read(path, transaction, env.stat()["entries"], most_bad)
    except lmdb.Error as error:
        raise InputError(f"the image LMDB {path} cannot be read: {error}") from None
    finally:
        close_env(env)


def _read(path: str, transaction: Any, count: int, most_bad: int) -> Contents:
    if count == 0:
        raise InputError(f"the image LMDB {path} is empty: expected at least one record")
    fingerprint = Fingerprint()
    keys: list[bytes] = []
    labels = np.empty(count, np.int32)
    sides = np.zeros(count, np.int32)
    bad = 0
    bar = progress(transaction.cursor(), "index", count)
    for i, (key, value) in enumerate(bar):
        name = f"record {i} (key {key.decode(errors='replace')}) of {path}"
        if key.endswith(b"\0"):
            raise InputError(f"{name} has a key that ends in a zero byte, expected keys of text")
        try:
            image, labels[i] = decode_datum(value, name)
            sides[i] = min(image.shape[:2])
        except BadImageError as error:
            labels[i] = parse_datum(value, name).label  # of what is no Datum this is an error
            bad += 1
            if bad > most_bad:
                raise InputError(
                    f"{error}; bad images so far: {bad}, at most {most_bad} (--max-bad-images)"
                ) from None
            bar.write(f"{error}", file=sys.stderr)
        if labels[i] < 0:
            raise InputError(f"{name} has the label {labels[i]}, expected labels from 0")
        fingerprint.add(key, value)
        keys.append(key)
    check = probe(count, keys.__getitem__, lambda i: transaction.get(keys[i], b""))
    return Contents(np.array(keys), labels, sides, fingerprint.text(), check, bad)


def has_running_keys(keys: np.ndarray) -> bool:
    """Return whether the keys are the running number, as sjft writes them."""
    return all(key == (KEY_FORMAT % i).encode() for i, key in enumerate(keys.tolist()))
