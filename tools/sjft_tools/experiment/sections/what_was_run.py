"""What was run: settings, versions and machine, times, fingerprints, commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Any

from sjft_tools.experiment.environment import Start, in_turn, read_starts
from sjft_tools.experiment.finished import FinishedRun, count_of
from sjft_tools.experiment.page import Page
from sjft_tools.experiment.settings import Experiment
from sjft_tools.experiment.time_left import duration

_DIGITS = 19  # of a fingerprint, "sha256:" among them


def add_what_was_run(page: Page, run: FinishedRun) -> None:
    """Add it."""
    page.heading("What was run")
    page.table("The experiment", ("setting", "value"), _settings(run.plan.experiment), words=(0, 1))
    rounds = run.plan.experiment.rounds
    page.table(
        "The rounds of the experiment",
        ("", *rounds[0]),
        [
            (f"round {n}", *("" if value is None else str(value) for value in each.values()))
            for n, each in enumerate(rounds, 1)
        ],
    )
    _add_starts(page, read_starts(run.plan.folder))
    _add_steps(page, run)
    page.subheading("Commands")
    page.paragraph(
        "Each can be typed on its own, in the folder in which the experiment was started."
    )
    page.commands(shlex.join(marker["command"]) for marker in run.done.values())


def _settings(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield name and words of every setting but the rounds."""
    yield "name", experiment.name
    for role, images in experiment.images.items():
        yield role, _words(images) if isinstance(images, str) else f"convert: {_words(images)}"
    for section in ("bank", "neighbours", "net"):
        given = getattr(experiment, section)
        if isinstance(given, str):
            yield section, given
        for key, value in given.items() if isinstance(given, dict) else ():
            yield f"{section}: {key}", _words(value)
    yield "leaks", "no search" if experiment.leaks is None else _words(experiment.leaks)
    for name in ("harden", "evaluate", "gallery", "seed"):
        yield name, _words(getattr(experiment, name))


def _words(value: Any) -> str:
    if isinstance(value, list):
        return shlex.join(value) or "–"
    return "–" if value is None else str(value)


def _add_starts(page: Page, starts: list[Start]) -> None:
    if not starts:
        return
    page.subheading("Versions and machine")
    first, last = (_moment(start.time) for start in (starts[0], starts[-1]))
    page.paragraph(
        f"Started once, on {first}."
        if len(starts) == 1
        else f"Started {len(starts)} times, first on {first} and last on {last}; each start went "
        f"on where the one before had ended."
    )
    page.table(
        "What there was at the start",
        ("", "version or kind"),
        in_turn(start.environment for start in starts).items(),
        words=(0, 1),
    )


def _moment(time: str) -> str:
    """Return "2026-11-26 at 02:50 UTC" for an ISO 8601 time in UTC."""
    return f"{time[:10]} at {time[11:16]} UTC"


def _add_steps(page: Page, run: FinishedRun) -> None:
    page.subheading("Steps and times")
    seconds = {name: marker["seconds"] for name, marker in run.done.items()}
    total = sum(seconds.values())
    page.table(
        f"{count_of(len(seconds), 'step')}, {duration(total)} in all",
        ("step", "seconds", "% of all", "made"),
        [
            (
                name,
                f"{seconds[name]:,.1f}",
                f"{100 * seconds[name] / max(total, 1e-9):.1f}",
                ", ".join(os.path.basename(path) for path in marker["outputs"]),
            )
            for name, marker in run.done.items()
        ],
        words=(0, 3),
    )
    page.paragraph(
        "Seconds: from the beginning of a step to its end, on a clock on the wall; of a step that "
        "was stopped and gone on with, the sum over its parts, without the time in between."
    )
    made = {path for marker in run.done.values() for path in marker["outputs"]}
    given = {
        path: fingerprint
        for marker in run.done.values()
        for path, fingerprint in marker["inputs"].items()
        if path not in made
    }
    page.subheading("Fingerprints")
    page.paragraph(
        "Of an LMDB's records, or a file's bytes: equal ones mean equal content. Their first "
        "digits; the whole ones lie in the run folder's steps/."
    )
    page.table(
        "What went in",
        ("file", "fingerprint"),
        [(path, fingerprint[:_DIGITS]) for path, fingerprint in given.items()],
        words=(0, 1),
    )
    page.table(
        "What came out",
        ("file", "fingerprint"),
        [
            (os.path.relpath(path, run.plan.folder), fingerprint[:_DIGITS])
            for marker in run.done.values()
            for path, fingerprint in marker["outputs"].items()
        ],
        words=(0, 1),
    )
