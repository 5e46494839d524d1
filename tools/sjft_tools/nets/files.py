"""Writing generated files into a folder; what must not be replaced is refused before the first."""

from __future__ import annotations

import os
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.atomic import write_file


def output_folder(path: str, what: str) -> str:
    """Return `path`, a folder or a name for a new one, normalised; `what` names it in messages.

    Raises InputError if it is anything else, or lies below a file.
    """
    folder = os.path.normpath(path)
    for part in (Path(folder), *Path(folder).parents):
        if part.exists() and not part.is_dir():
            raise InputError(f"{what} {part} is a file: expected a folder, or a name for a new one")
    return folder


def state(path: Path, text: str) -> str:
    """How the file at `path` compares with `text`."""
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return "unchanged"
    return "differs" if path.exists() else "is missing"


def write(folder: Path, files: dict[str, str], force: bool) -> None:
    """Write what is missing or, with `force`, differs; refuse before anything is written."""
    states = {name: state(folder / name, text) for name, text in files.items()}
    differing = [name for name, state in states.items() if state == "differs"]
    if differing and not force:
        raise InputError(
            f"{folder / differing[0]} exists and differs from what is to be written: "
            "give --force to replace it"
        )
    for name, text in files.items():
        path = folder / name
        if states[name] == "unchanged":
            print(f"{path} unchanged")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(str(path), text.encode(), force)
        print(f"{path} written")
