"""Where images come from: each module here reads one form of image collection into an ImageSet.

A form is a module with ``add_arguments(parser)``, which adds what names the collection on the
command line, and ``read(args) -> ImageSet``. commands/convert.py lists the forms.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One image: the path of its file, and its label from 0."""

    path: str
    label: int


class ImageSet(NamedTuple):
    """Images in the order in which they will be stored, and the classes' names.

    `class_names`: one per label, or empty if nobody named them. `folder`: where the images lie, so
    that no output is put there, or None.
    """

    entries: list[Entry]
    class_names: list[str]
    folder: str | None = None
