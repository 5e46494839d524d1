"""Class names: reading a file of them, and how a class is called."""

from __future__ import annotations

import os

from sjft.errors import InputError, why_unread


def read_class_names(path: str) -> list[str]:
    """Return the lines of the UTF-8 text file `path`: line i, from 0, names the class of label i.

    Blank lines at the end do not count. Raises InputError if the file cannot be read, names
    nothing, or leaves a class in between without a name.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            names = [line.strip() for line in stream]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the class names {path} cannot be read: {why_unread(error)}") from None
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputError(f"{path} is empty: expected one class name per line")
    if "" in names:
        raise InputError(
            f"line {names.index('') + 1} of {path} is blank: expected the name of class "
            f"{names.index('')}"
        )
    return names


def check_class_names(names: list[str], largest_label: int, path: str) -> None:
    """Raise InputError unless the `names` read from `path` reach as far as `largest_label`."""
    if largest_label >= len(names):
        raise InputError(
            f"{path} names {len(names)} classes, but the label {largest_label} occurs: expected at "
            f"least {largest_label + 1} lines, the first for label 0"
        )


def class_name(names: list[str], label: int) -> str:
    """Return the name of a class, or its number in words if it has none."""
    return names[label] if label < len(names) else f"class {label}"


def readable(name: str) -> str:
    """Return a file's name as text that can be written down, even if it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")
