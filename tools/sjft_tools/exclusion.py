"""The exclusion file: source images that are to take no part, by their keys.

Text, bound to one source LMDB by the fingerprint in its first line; what follows a ``#`` is a
comment, in which ``sjft leaks`` says why::

    sjft exclusions 1 sha256:9f86d0...
    0000001234  # the same pixels as record 17 of flowers/test_lmdb
"""

from __future__ import annotations

import bisect
import urllib.parse
from collections.abc import Iterator, Sequence

import numpy as np

from sjft.errors import InputError, why_unread
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import new_file

FORMAT = "sjft exclusions 1"

_LONGEST_HEADER = 200  # characters; so that a file of another kind is not read for its first line
_AS_THEY_ARE = "!\"$&'()*+,/:;<=>?@[\\]^`{|}"  # besides letters, digits and _.-~


def read_exclusions(path: str, source: ImageLmdb) -> np.ndarray:
    """Return the positions in `source` of the records that the file `path` names.

    int64 (n,), ascending, each once; n may be 0. Raises InputError if the file cannot be read, is
    not an exclusion file, was written for another source LMDB, or names a key that is not there.
    """
    keys = _Keys(source)
    positions = set()
    for number, name in _names(path, source):
        key = urllib.parse.unquote_to_bytes(name)
        position = bisect.bisect_left(keys, key)
        if position == len(keys) or keys[position] != key:
            raise InputError(
                f"line {number} of {path} names the key {name!r}, which {source.path} does not "
                f"have: expected one of its keys, as {_quoted(source.key(0))!r} is"
            )
        positions.add(position)
    return np.array(sorted(positions), np.int64)


def write_exclusions(
    path: str,
    source: ImageLmdb,
    positions: Sequence[int] | np.ndarray,
    reasons: Sequence[str],
    force: bool = False,
) -> None:
    """Write the exclusion file `path`: the records of `source` at `positions`, ascending.

    `reasons`: a comment for each. The file appears only when complete. Raises InputError if `path`
    exists and `force` is not set.
    """
    lines = [f"{FORMAT} {source.fingerprint}\n"]
    for position, reason in zip(positions, reasons):
        lines.append(f"{_quoted(source.key(int(position)))}  # {' '.join(reason.split())}\n")
    with new_file(path, force) as partial, open(partial, "w", encoding="utf-8") as stream:
        stream.writelines(lines)


def _names(path: str, source: ImageLmdb) -> Iterator[tuple[int, str]]:
    """Yield (line number, key as written) of the exclusion file `path`, once its header fits."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            _check_header(stream.readline(_LONGEST_HEADER), path, source)
            for number, line in enumerate(stream, 2):
                name = line.partition("#")[0].strip()
                if name:
                    yield number, name
    except OSError as error:
        raise InputError(f"the exclusion file {path} cannot be read: {why_unread(error)}") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not an exclusion file: expected text in UTF-8 that begins with '{FORMAT}'"
        ) from None


def _check_header(header: str, path: str, source: ImageLmdb) -> None:
    words, _, fingerprint = header.partition("#")[0].strip().rpartition(" ")
    if words.rstrip() != FORMAT:
        raise InputError(
            f"{path} is not an exclusion file: its first line is {header.strip()[:60]!r}, "
            f"expected '{FORMAT} {source.fingerprint[:15]}...'"
        )
    if fingerprint != source.fingerprint:
        raise InputError(
            f"{path} was written for another source LMDB than {source.path} (fingerprint "
            f"{fingerprint[:15]}..., not {source.fingerprint[:15]}...): run 'sjft leaks' on it"
        )


def _quoted(key: bytes) -> str:
    """Return `key` as text, %XX standing for bytes that would not survive: spaces, #, %, umlauts.

    A hand-written file may have spaces and umlauts as they are.
    """
    return urllib.parse.quote_from_bytes(key, safe=_AS_THEY_ARE)


class _Keys(Sequence[bytes]):
    """The keys of an LMDB, ascending, without having them all in memory."""

    def __init__(self, lmdb: ImageLmdb) -> None:
        self._lmdb = lmdb

    def __len__(self) -> int:
        return self._lmdb.count

    def __getitem__(self, i: int) -> bytes:  # type: ignore[override]
        return self._lmdb.key(i)
