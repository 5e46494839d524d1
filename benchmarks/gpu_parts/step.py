"""What every step shares: its settings come in a file, what it finds goes into another."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Callable

Settings = dict[str, Any]


class Findings:
    """Figures and tables of a step, in its file after every addition: a killed step keeps some."""

    def __init__(self, path: str) -> None:
        self.values: dict[str, Any] = {}
        self.tables: list[dict[str, Any]] = []
        self._path = Path(path)

    def add(self, table: dict[str, Any] | None = None, **values: Any) -> None:
        """Take in figures by name and, if there is one, their table."""
        self.values.update(values)
        if table is not None:
            self.tables.append(table)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"values": self.values, "tables": self.tables}))
        partial.replace(self._path)


def run(step: Callable[[Settings, Findings], None]) -> None:
    """Run a step as gpu.py asks for it: SETTINGS.json ANSWER.json."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    try:
        step(settings, Findings(sys.argv[2]))
    except SystemExit as error:
        raise SystemExit(f"Failure: {error}") from None


def seconds_left(settings: Settings) -> float:
    """Return what is left of the step's time."""
    return settings["deadline"] - time.time()
