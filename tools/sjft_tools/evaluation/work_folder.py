"""The hidden folder beside a scores file in which an unfinished run keeps what it has."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sjft_tools.atomic import new_file

_PLAN = "plan.json"


class WorkFolder:
    """``.NAME.work`` beside the output NAME: ``plan.json`` and a file for every finished chunk.

    The caller holds the output's lock (atomic.new_file), which keeps two runs apart.
    """

    def __init__(self, output: str, plan: dict[str, Any]) -> None:
        """Open the folder; throw away what runs of another plan left there.

        `plan`: everything that decides the scores, as JSON values.
        """
        parent, name = os.path.split(os.path.abspath(output))
        self.path = os.path.join(parent, f".{name}.work")
        text = json.dumps(plan, indent=1, sort_keys=True)
        file = Path(self.path, _PLAN)
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            print(f"goes on with what an unfinished run left in {self.path}", file=sys.stderr)
            return
        self.remove()
        os.mkdir(self.path)
        with new_file(str(file)) as partial:
            Path(partial).write_text(text, encoding="utf-8")

    def _file(self, chunk: int) -> str:
        return os.path.join(self.path, f"{chunk:06}.npy")

    def load(self, chunk: int) -> np.ndarray | None:
        """Return the scores of chunk number `chunk`, None if it is not finished."""
        if not os.path.exists(self._file(chunk)):
            return None
        scores: np.ndarray = np.load(self._file(chunk), allow_pickle=False)
        return scores

    def save(self, chunk: int, scores: np.ndarray) -> None:
        """Keep the scores of chunk number `chunk`."""
        with new_file(self._file(chunk), force=True) as partial:
            np.save(partial, scores)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
