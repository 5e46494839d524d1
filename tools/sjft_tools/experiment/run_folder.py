"""Whose a run folder is: an experiment clears away in it what its steps are to make.

And from where its paths are seen. Commands name the run folder in one way, however it was spelled
and from wherever the run is gone on with: what they write holds paths.
"""

from __future__ import annotations

import os
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.experiment.run_lock import LOCK
from sjft_tools.experiment.step import FOLDER
from sjft_tools.json_file import read_json, write_json

FORMAT = "sjft run 1"
MARKER = os.path.join(FOLDER, "run.json")


def check_run_folder(folder: str, name: str) -> None:
    """Raise InputError if `folder` is there and is not one of runs of the experiment `name`."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"the run folder {folder} is not a folder: expected another --out")
    marker = Path(folder, MARKER)
    if not marker.is_file():
        if os.path.isdir(folder) and set(os.listdir(folder)) - {LOCK, FOLDER}:
            raise InputError(
                f"{folder} holds files that no 'sjft run' has made: expected a new or empty run "
                f"folder for --out"
            )
        return
    try:
        found = read_json(marker)
    except ValueError:
        found = None
    version = found.get("format") if isinstance(found, dict) else None
    if version != FORMAT:
        raise InputError(
            f"{folder} is a run folder of another version of sjft: format {version!r}, expected "
            f"{FORMAT!r}; give a new --out"
        )
    if found.get("name") != name:
        raise InputError(
            f"{folder} is the run folder of the experiment {found.get('name')!r}, not of {name!r}: "
            f"expected another --out"
        )


def claim_run_folder(folder: str, name: str) -> None:
    """Mark the existing `folder` as the experiment's, begun in the current folder.

    Raises InputError as check_run_folder.
    """
    check_run_folder(folder, name)
    marker = Path(folder, MARKER)
    if not marker.exists():
        os.makedirs(marker.parent, exist_ok=True)
        place, here = os.path.realpath(folder), os.getcwd()
        # relative where both can be moved together
        base = os.path.relpath(here, place) if _is_in(place, here) else here
        content = {"format": FORMAT, "name": name, "begun_in": base}
        write_json(str(marker), content, force=False)


def begun_in(folder: str) -> str:
    """Return the folder in which the run in `folder` was begun; the current one for a new run."""
    try:
        content = read_json(Path(folder, MARKER))
        base = os.path.realpath(os.path.join(os.path.realpath(folder), content["begun_in"]))
    except (OSError, ValueError, KeyError, TypeError):
        return os.getcwd()
    return base if os.path.isdir(base) else os.getcwd()


def spelled(folder: str, base: str) -> str:
    """Return the path of `folder` as commands name it: seen from `base` if it is in there."""
    place = os.path.realpath(folder)
    return os.path.relpath(place, base) if _is_in(place, base) else place


def _is_in(place: str, folder: str) -> bool:
    return os.path.commonpath([place, folder]) == folder
