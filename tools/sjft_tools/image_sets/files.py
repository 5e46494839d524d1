"""The files in a folder or an archive, by their paths within it, and where their bytes lie."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Callable, NamedTuple

from sjft.errors import InputError
from sjft_tools.command import progress
from sjft_tools.image_sets import Entry
from sjft_tools.image_sets.reading import read_content

_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_ZIP = b"PK"
_ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip", ".rar", ".7z")
_BLOCK = 1 << 20


class Place(NamedTuple):
    """Where a file's bytes lie; see Entry."""

    archive: str
    offset: int
    size: int


class Files(NamedTuple):
    """Files by their paths within `origin`, a folder or an archive, with / between folders."""

    origin: str
    places: dict[str, Place]

    def entry(self, path: str, label: int) -> Entry:
        """Return the image at `path` within, with its label."""
        return Entry(f"{self.origin}/{path}", label, *self.places[path])

    def read(self, path: str) -> bytes:
        """Return the bytes of the file at `path` within."""
        return read_content(self.entry(path, 0))

    def prefix(self, paths: Sequence[str]) -> str:
        """Return what stands before `paths`, relative ones, within: "", or folders and a slash.

        Goes by the first file that is one of them, in any case of letters; "" if none is.
        """
        wanted = {path.lower() for path in paths}
        for path in self.places:
            for start in [0, *(match.end() for match in re.finditer("/", path))]:
                if path[start:].lower() in wanted:
                    return path[:start]
        return ""


def files_in(path: str, scratch: str, nested: bool = False) -> Files:
    """List what the folder or archive `path` holds, hidden files left out.

    Archives are tar, also compressed with gzip, bzip2 or xz, and zip. Nothing can be read from the
    middle of a compressed tar: it is unpacked, as one plain tar, into the folder `scratch`. With
    `nested`, tars within are entered as if they were folders. Raises InputError if `path` is
    neither, or is cut short.
    """
    if os.path.isdir(path):
        found = in_folder(path, nested)
    elif _magic(path).startswith(_ZIP):
        found = _in_zip(path)
    else:
        found = _in_tar(_plain_tar(path, scratch), path, nested)
    bar = progress(found, f"list {os.path.basename(path)}", unit="file")
    places = {name: place for name, place in bar if not is_hidden(name)}
    inner = [name for name in places if name.lower().endswith(_ARCHIVES)]
    if inner:
        print(
            f"left out {len(inner)} archives within {path}, the first {inner[0]}: unpack those "
            f"that hold images",
            file=sys.stderr,
        )
    return Files(path, places)


def is_hidden(name: str) -> bool:
    """Tell whether the file at the path `name` within is hidden, or in a folder that is."""
    return name.startswith((".", "__MACOSX/")) or "/." in name


def in_folder(
    folder: str, nested: bool = False, inside: str = "", above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, Place]]:
    """Yield the files below `folder`, links followed unless they lead back to what is `above`.

    A folder's files come before those of the folders in it, both sorted by name. `nested`: see
    files_in(). Raises InputError if a folder cannot be read.
    """
    try:
        state = os.stat(folder)
        found = sorted(os.scandir(folder), key=lambda entry: (entry.is_dir(), entry.name))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from None
    here = (state.st_dev, state.st_ino)
    if here in above:
        return
    for entry in found:
        name = f"{inside}{entry.name}"
        if entry.is_dir():
            yield from in_folder(entry.path, nested, f"{name}/", (*above, here))
        elif nested and entry.name.endswith(".tar"):
            for member, place in _in_tar(entry.path, entry.path, nested=False):
                yield f"{name}/{member}", place
        else:
            yield name, Place("", 0, 0)


def _in_zip(path: str) -> Iterator[tuple[str, Place]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield member.filename, Place(path, -1, member.file_size)
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from None


def _in_tar(
    path: str, shown: str, nested: bool, start: int = 0, size: int | None = None
) -> Iterator[tuple[str, Place]]:
    """Yield the files of the plain tar in the `size` bytes from byte `start` of the file `path`."""
    end = os.path.getsize(path) if size is None else start + size
    with open(path, "rb") as stream:
        stream.seek(start)
        seen = False
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                member = archive.next()
                while member is not None:
                    seen = True
                    if member.offset_data + member.size > end:
                        raise tarfile.ReadError("unexpected end of data")
                    name = member.name[2:] if member.name.startswith("./") else member.name
                    if nested and member.isfile() and name.endswith(".tar"):
                        for inner, place in _in_tar(
                            path, f"{shown}/{name}", False, member.offset_data, member.size
                        ):
                            yield f"{name}/{inner}", place
                    elif member.isfile():
                        yield name, Place(path, member.offset_data, member.size)
                    archive.members = []  # type: ignore[attr-defined]  # a million of them fill the memory
                    member = archive.next() if archive.offset < end else None
                _check_end(stream, archive.offset, end, shown)
        except tarfile.TarError as error:
            if seen:
                raise _damaged(shown, error) from None
            raise InputError(f"{shown} is no archive: {_beginning(path, start, end)}") from None


def _check_end(stream: BinaryIO, offset: int, end: int, shown: str) -> None:
    """Raise TarError unless what tarfile stopped at is a tar's end: it takes damage for one too."""
    if offset > end:
        raise tarfile.ReadError("unexpected end of data")
    stream.seek(offset)
    block = stream.read(min(tarfile.BLOCKSIZE, end - offset))
    if block.strip(b"\0"):
        raise tarfile.ReadError("bad header")
    if not block:
        print(f"{shown} has no mark at its end: it may have been cut short", file=sys.stderr)


def _magic(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(6)


def _damaged(archive: str, error: Exception) -> InputError:
    return InputError(f"the archive {archive} is truncated or damaged ({error}): get it again")


def _beginning(path: str, start: int, end: int) -> str:
    with open(path, "rb") as stream:
        stream.seek(start)
        return f"expected a tar or zip, it begins with {stream.read(min(24, end - start))!r}"


def _plain_tar(path: str, scratch: str) -> str:
    """Return `path` if it is not compressed, or else the name of its plain copy in `scratch`."""
    magic = _magic(path)
    openers = [opener for begin, opener in _COMPRESSIONS.items() if magic.startswith(begin)]
    if not openers:
        return path
    os.makedirs(scratch, exist_ok=True)
    state = os.stat(path)
    name = f"{os.path.basename(path)}.{state.st_size}.{state.st_mtime_ns}.tar"
    plain = os.path.join(scratch, name)
    if not os.path.exists(plain):
        _decompress(openers[0](path, "rb"), path, f"{plain}.partial")
        os.replace(f"{plain}.partial", plain)
    return plain


def _decompress(source: BinaryIO, path: str, target: str) -> None:
    with source, open(target, "wb") as stream:
        try:
            blocks = progress(
                iter(lambda: source.read(_BLOCK), b""),
                f"unpack {os.path.basename(path)}",
                unit="MiB",
            )
            for block in blocks:
                stream.write(block)
        except (EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise _damaged(path, error) from None
        except OSError as error:
            if error.errno is not None:  # the disk's; gzip's and bzip2's own have no number
                raise
            raise _damaged(path, error) from None
