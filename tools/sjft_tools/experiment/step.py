"""One step of an experiment: a command, what it reads and what it makes; the marker of its end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sjft_tools.json_file import read_json

FOLDER = "steps"  # of the markers, in the run folder
LOGS = "logs"  # of the steps, in the run folder
DONE = "done.json"  # how the name of a marker ends
BEFORE = "before"  # and that of the folder of earlier results: experiment/earlier_results.py

#: Options, with a value, of 'sjft convert' and 'sjft retrieve' on which the result does not depend.
_INDIFFERENT = ("--workers", "--scheduler", "--product")

#: What a step leaves when it has ended: command, inputs, outputs, seconds, size.
Marker = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A command that a person could type, `words`, and the paths that it reads and makes.

    `work`: paths of unfinished work, which a new beginning has to do without; `emptied`: folders
    that must be there, and empty, at a new beginning. `size`: what the time that it takes grows
    with, beside other steps of its kind. `goes_on`: the command goes on behind the first of its
    outputs; others replace nothing, and must not find any. `appends`: the command still writes into
    outputs that are there, and only its own end tells that they are complete.
    """

    name: str
    words: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    work: Sequence[str] = ()
    emptied: Sequence[str] = ()
    size: int = 1
    goes_on: bool = False
    appends: bool = False

    @property
    def kind(self) -> str:
        """The name without the round: steps of one kind do the same in every round."""
        return re.sub(r"^round_\d+_", "", self.name)

    @property
    def line(self) -> str:
        """The command as one types it."""
        return shlex.join(self.words)


def command_step(
    name: str,
    words: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    work: Sequence[str] = (),
    emptied: Sequence[str] = (),
    size: int = 1,
) -> Step:
    """Return the step of a command of sjft, of which is known how it deals with its outputs."""
    goes_on = words[1] in ("evaluate", "harden")
    # the last test comes behind the last snapshot
    appends = words[1] == "train"
    return Step(name, words, inputs, outputs, work, emptied, size, goes_on, appends)


def marker_file(folder: str, name: str, end: str = DONE) -> Path:
    """Return where the marker of the step `name` lies in the folder of markers `folder`."""
    return Path(folder, f"{name}.{end}")


def read_markers(folder: str) -> dict[str, Marker]:
    """Return step -> marker of all that have ended in the run folder `folder`, whenever it was."""
    found: dict[str, Marker] = {}
    markers = Path(folder, FOLDER)
    for end in (f".{DONE}", f".{BEFORE}/{DONE}"):
        for path in sorted(markers.glob(f"*{end}")):
            content = read_marker(path)
            if content:
                found.setdefault(str(path.relative_to(markers))[: -len(end)], content)
    return found


def read_marker(path: Path) -> Marker | None:
    """Return the content of a marker, empty if it is damaged; None if there is none."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def is_same_command(words: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two commands have the same result: how many GPUs matters, but not which."""
    return _decisive(words) == _decisive(others)


def other_command(words: Sequence[str], others: Sequence[str]) -> str:
    """Return what the command `words` was; of sjft's only what differs from `others`."""
    had, lacked = (
        [part for part in _parts(these) if part not in _parts(those)]
        for these, those in ((words, others), (others, words))
    )
    if words[0] != "sjft" or words[:2] != others[:2] or not had + lacked:
        return f"'{shlex.join(words)}'"
    return f"one with {', '.join(had)}" if had else f"one without {', '.join(lacked)}"


def _parts(words: Sequence[str]) -> list[str]:
    """Return the words of a command as one types them, an option's with what follows it in one."""
    parts: list[str] = []
    for word in words:
        if word.startswith("--") or not (parts and parts[-1].startswith("--")):
            parts.append(shlex.quote(word))
        else:
            parts[-1] += f" {shlex.quote(word)}"
    return parts


def _decisive(words: Sequence[str]) -> list[object]:
    return [
        len(word.split(",")) if option == "--gpu" else word
        for option, word in zip(["", *words], words)
        if word not in _INDIFFERENT and option not in _INDIFFERENT
    ]
