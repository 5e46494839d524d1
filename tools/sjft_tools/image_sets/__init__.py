"""Where images come from: each module here reads one form of image collection into an ImageSet.

A form is a module with ``add_arguments(parser)``, which adds what names the collection on the
command line, and ``read(args, scratch) -> ImageSet``, where the folder `scratch`, made by whoever
needs it, lasts as long as the conversion. commands/convert.py lists the forms.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One image: its name, its label from 0, and where its bytes lie.

    `path` is the image's file if `archive` is empty. Otherwise it only names the image, and its
    bytes are the `size` bytes from byte `offset` of the tar `archive`; an `offset` of -1 means the
    member of a zip, whose name is `path` after that of the zip. If `archive` is a folder, it is an
    image LMDB, and the image its record `offset`.
    """

    path: str
    label: int
    archive: str = ""
    offset: int = 0
    size: int = 0


class ImageSet(NamedTuple):
    """Images in the order in which they will be stored, and the classes' names.

    `class_names`: one per label, or empty if nobody named them. `folder`: where the images lie, so
    that no output is put there, or None.
    """

    entries: list[Entry]
    class_names: list[str]
    folder: str | None = None
