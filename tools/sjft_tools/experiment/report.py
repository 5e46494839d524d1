"""The report of a run: figures of every round, curves, neighbours, mistakes, and the commands."""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sjft import __version__
from sjft_tools.experiment.page import Page
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.step import Marker

if TYPE_CHECKING:
    from sjft_tools.experiment.runner import Outcome


def report_page(plan: Plan, outcome: Outcome, done: Mapping[str, Marker]) -> str:
    """Return the HTML of the report. `done`: the marker of every step of the run, in its order."""
    page = Page(f"{plan.experiment.name}: selective joint fine-tuning")
    _accuracies(page, plan, outcome)
    _hardening(page, plan, [n for n in range(1, outcome.rounds + 1) if f"round_{n}_harden" in done])
    page.heading("Training")
    page.picture(
        plan.file("curves.png"), "Training error dashed, test error solid, of every round."
    )
    _neighbours(page, plan)
    _mistakes(page, plan, outcome)
    _steps(page, done)
    return page.text()


def _read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _accuracies(page: Page, plan: Plan, outcome: Outcome) -> None:
    page.heading("Accuracy on the target's test images")
    rows = []
    for number in range(1, outcome.rounds + 1):
        result = _read(plan.round_file(number, "test.json"))
        low, high = result["interval"]["mean_class"]
        rows.append(
            (
                f"round {number}" + (" (the result)" if number == outcome.best else ""),
                _percent(result["mean_class"]),
                f"{_percent(low)} to {_percent(high)}",
                _percent(result["top1"]),
                _percent(result["top5"]),
            )
        )
    page.table(("in %", "mean over classes", "95 % interval", "top-1", "top-5"), rows)
    images = _read(plan.round_file(outcome.best, "test.json"))["images"]
    page.paragraph(f"{images} images. The rounds ended because {outcome.reason}.")
    if plan.experiment.paper:
        page.table(
            ("the paper's rows for this data set", "mean over classes in %"),
            [(row, f"{value:.1f}") for row, value in plan.experiment.paper.items()],
        )


def _hardening(page: Page, plan: Plan, numbers: Sequence[int]) -> None:
    """Tell of the hard samples after the rounds `numbers`."""
    rows = []
    for number in numbers:
        moves = _read(plan.round_file(number, "moves.json"))
        counts = [moves[key] for key in ("wrong", "uncertain", "certain", "moved")]
        rows.append((f"after round {number}", *counts, f"{moves['delta']:.3f}"))
    if not rows:
        return
    page.heading("Hard samples among the target's training images")
    page.table(("images", "wrong", "uncertain", "certain", "moved", "delta, nats"), rows)
    page.paragraph(
        "A wrong image's neighbourhood grows by sigma0, that of a right one whose entropy is at "
        "least delta by sigma1; the next round trains with these neighbourhoods."
    )


def _neighbours(page: Page, plan: Plan) -> None:
    page.heading("Neighbours")
    page.picture(plan.file("gallery.png"), "Target images, each with some of its neighbours.")
    page.picture(plan.file("neighbours.png"), "How many source images the neighbours are.")


def _mistakes(page: Page, plan: Plan, outcome: Outcome) -> None:
    folder = Path(plan.round_file(outcome.best, "test_details"))
    pictures = sorted(folder.glob("*.png"))
    if pictures:
        page.heading("Mistakes on the test images")
    for path in pictures:
        page.picture(str(path), path.stem.replace("_", " ").capitalize() + ".")
    classes = _read(plan.round_file(outcome.best, "test.json"))["per_class"]
    page.heading("Classes, the hardest first")
    page.table(
        ("class", "images", "top-1 in %"),
        (
            (each["name"] or each["label"], each["images"], _percent(each["top1"]))
            for each in sorted(classes, key=lambda each: (each["top1"], each["label"]))
        ),
    )


def _steps(page: Page, done: Mapping[str, Marker]) -> None:
    page.heading("What was run")
    page.table(
        ("step", "seconds", "made", "fingerprint"),
        [
            (name, f"{marker['seconds']:.1f}", os.path.basename(path), fingerprint[:19])
            for name, marker in done.items()
            for path, fingerprint in marker["outputs"].items()
        ],
    )
    versions = {"sjft": __version__, "Python": platform.python_version(), "NumPy": np.__version__}
    page.paragraph(
        ", ".join(f"{name} {version}" for name, version in versions.items())
        + f", OpenCV {cv2.__version__}. The commands, each of which can be typed on its own in the "
        "folder in which the experiment was run:"
    )
    page.commands(shlex.join(marker["command"]) for marker in done.values())
