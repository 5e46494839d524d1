"""What an input of a step is, so that another one in its place is noticed.

An LMDB is its records, a file its bytes, a folder of images the names and sizes of its files. When
a file was last changed decides nothing: clocks differ, and copies are as good as originals.
"""

from __future__ import annotations

import json
import os

from sjft.side_file import SIDE_FILE
from sjft_tools.checksums import checksum_of, file_checksum

MISSING = "missing"


class Fingerprints:
    """Fingerprints of paths. A file is read once as long as its size and times stay the same."""

    def __init__(self, without: str = "") -> None:
        """Take them; `without`: a folder that does not count as a part of others: the run's."""
        self._without = os.path.realpath(without) if without else ""
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    def of(self, path: str) -> str:
        """Return the fingerprint of a file or folder, or MISSING."""
        if os.path.isfile(os.path.join(path, SIDE_FILE)):
            return self._of_lmdb(os.path.join(path, SIDE_FILE))
        if os.path.isdir(path):
            return self._of_folder(path)
        if os.path.exists(path):
            return self._of_file(path)
        return MISSING

    def _of_lmdb(self, side_file: str) -> str:
        """Return what the side file says of the records: the paths in it are only hints."""
        with open(side_file, "rb") as stream:
            text = stream.read()
        try:
            content = json.loads(text)
        except ValueError:  # damaged: whoever reads the LMDB says so
            return checksum_of(text)
        if not isinstance(content, dict):
            return checksum_of(text)
        kept = {key: value for key, value in content.items() if not key.endswith("_path")}
        return checksum_of(json.dumps(kept, sort_keys=True).encode())

    def _of_file(self, path: str) -> str:
        state = os.stat(path)
        identity = (state.st_size, state.st_mtime_ns, state.st_ino)
        known = self._known.get(path)
        if known is None or known[0] != identity:
            known = self._known[path] = (identity, file_checksum(path))
        return known[1]

    def _of_folder(self, path: str) -> str:
        lines = []
        place = os.path.realpath(path)
        for parent, folders, files in os.walk(place):
            folders[:] = sorted(f for f in folders if os.path.join(parent, f) != self._without)
            for name in sorted(files):
                file = os.path.join(parent, name)
                size = os.path.getsize(file) if os.path.exists(file) else MISSING  # a dangling link
                lines.append(f"{os.path.relpath(file, place)}\0{size}\n")
        return checksum_of("".join(lines).encode("utf-8", "surrogateescape"))
