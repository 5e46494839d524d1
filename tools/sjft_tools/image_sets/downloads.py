"""A folder of downloads: finding in it what a data set's page offers, packed or unpacked."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sjft.errors import InputError
from sjft_tools.image_sets.files import Files, files_in


class Downloads:
    """The folder `folder` of what was downloaded of the data set `title`."""

    def __init__(self, folder: str, scratch: str, title: str) -> None:
        """Raises InputError if there is no such folder."""
        if not os.path.isdir(folder):
            raise InputError(
                f"{folder} is no folder: expected the one that holds the downloads of {title}"
            )
        self.folder = folder
        self.title = title
        self._scratch = scratch

    def find(self, names: Sequence[str]) -> str | None:
        """Return the path of the first of `names` that is there, or None."""
        paths = (os.path.join(self.folder, name) for name in names)
        return next((path for path in paths if os.path.exists(path)), None)

    def files(self, what: str, names: Sequence[str], nested: bool = False) -> Files:
        """List the first of `names`, folders or archives, that is there; `what` says what it is.

        Raises InputError if none is.
        """
        path = self.find(names)
        if path is None:
            raise self._missing(what, names)
        return files_in(path, self._scratch, nested)

    def document(self, name: str, archives: Sequence[str] = ()) -> tuple[bytes, str] | None:
        """Return the bytes of the file `name` and where it lies, or None if it is nowhere.

        Looks in the folder and in those of `archives`, which may as well be unpacked ones, whatever
        folder the file lies in there.
        """
        path = self.find([name])
        if path is not None:
            try:
                with open(path, "rb") as stream:
                    return stream.read(), path
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}") from None
        for archive in archives:
            path = self.find([archive])
            if path is not None:
                files = files_in(path, self._scratch)
                for inside in files.places:
                    if inside.rsplit("/", 1)[-1] == name:
                        return files.read(inside), f"{path}/{inside}"
        return None

    def needed(self, name: str, archives: Sequence[str] = ()) -> tuple[bytes, str]:
        """Return what document() does. Raises InputError if the file is nowhere."""
        found = self.document(name, archives)
        if found is None:
            raise self._missing(name, [name, *archives])
        return found

    def _missing(self, what: str, names: Sequence[str]) -> InputError:
        return InputError(
            f"{self.folder} lacks {what} of {self.title}: expected {' or '.join(names)} there"
        )


def lines_of(content: bytes, where: str) -> list[str]:
    """Return the lines of a text file that are not blank. Raises InputError if it is no text."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is no text: {error.reason} at byte {error.start}") from None
    lines = [line.strip() for line in lines if line.strip()]
    if lines and lines[0].lower().startswith(("<!doctype", "<html", "<?xml", "<!--", "<head")):
        raise InputError(f"{where} is a web page, perhaps an error's: expected the published list")
    return lines
