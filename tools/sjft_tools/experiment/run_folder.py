"""Whose a run folder is: an experiment clears away in it what its steps are to make."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.atomic import new_file
from sjft_tools.experiment.run_lock import LOCK
from sjft_tools.experiment.step import FOLDER

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
        found = json.loads(marker.read_text(encoding="utf-8"))
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
    """Mark the existing `folder` as the experiment's. Raises InputError as check_run_folder."""
    check_run_folder(folder, name)
    marker = Path(folder, MARKER)
    if not marker.exists():
        os.makedirs(marker.parent, exist_ok=True)
        with new_file(str(marker)) as partial:
            Path(partial).write_text(json.dumps({"format": FORMAT, "name": name}) + "\n")
