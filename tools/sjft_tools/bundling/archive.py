"""A folder to one file, the same bytes for the same contents."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from tqdm import tqdm

from sjft.errors import InputError
from sjft_tools.command import progress

#: With a filter for the machine code that most of a bundle is.
_XZ = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 26},
]
SUFFIXES = (".tar.xz", ".tar.gz", ".tar")


def check_suffix(path: str) -> None:
    """Raise InputError unless `path` ends in one of SUFFIXES, by which it will be packed."""
    if not path.endswith(SUFFIXES):
        raise InputError(f"the bundle {path} must end in {', '.join(SUFFIXES)}")


@contextlib.contextmanager
def _compressed(path: str, suffix: str) -> Iterator[Any]:
    with open(path, "wb") as file:
        if suffix.endswith(".xz"):
            with lzma.LZMAFile(file, "wb", filters=_XZ) as packed:
                yield packed
        elif suffix.endswith(".gz"):
            with gzip.GzipFile("", "wb", mtime=0, fileobj=file) as packed:
                yield packed
        else:
            yield file


def write_archive(folder: str, name: str, path: str, suffix: str) -> None:
    """Pack `folder` as the folder `name` of the archive `path`, compressed as `suffix` says.

    Files are in order of their names and belong to root, without times.
    """
    files = sorted(
        os.path.relpath(os.path.join(root, entry), folder)
        for root, _, entries in os.walk(folder)
        for entry in entries
    )
    total = sum(os.lstat(os.path.join(folder, file)).st_size for file in files)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress((), "pack", total=total, unit="B"))
        bar.unit_scale = True
        packed = stack.enter_context(_compressed(path, suffix))
        tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w|"))
        for file in files:
            source = os.path.join(folder, file)
            info = tar.gettarinfo(source, f"{name}/{file}")
            info.mtime = info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            if info.isreg():
                with open(source, "rb") as content:
                    tar.addfile(info, _Watched(content, bar))
            else:
                tar.addfile(info)


class _Watched(io.RawIOBase):
    """A file that moves a progress bar as it is read."""

    def __init__(self, file: IO[bytes], bar: tqdm[Any]) -> None:
        self._file = file
        self._bar = bar

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._bar.update(len(chunk))
        return chunk
