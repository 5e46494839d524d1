"""What the result gets wrong on the test images: classes, confusions, pictures."""

from __future__ import annotations

import csv
import io
import os

from sjft_tools.experiment.finished import FinishedRun, percent
from sjft_tools.experiment.page import Page
from sjft_tools.experiment.pictures import picture_of_file


def add_mistakes(page: Page, run: FinishedRun) -> None:
    """Add them."""
    best = run.outcome.best
    page.heading("Mistakes on the test images")
    folder = run.plan.round_file(best, "test_details")
    sheet = os.path.join(folder, "mistakes.png")
    if os.path.exists(sheet):
        page.picture(
            picture_of_file(sheet),
            f"The most confident mistakes after round {best}, of test images.",
        )
    page.picture(
        picture_of_file(os.path.join(folder, "confusion.png")),
        "Which class's images (rows) are taken for which class (columns).",
    )
    page.table(
        f"Classes after round {best}, the hardest first; accuracies in %",
        ("class", "images", "top-1", "top-5", "most often taken for", "times"),
        _classes(run, best),
        words=(0, 4),
    )


def _classes(run: FinishedRun, number: int) -> list[tuple[str, ...]]:
    names = ("test_details", "per_class.csv")
    table = io.StringIO(run.text_of_round(number, *names), newline="")
    try:
        return [
            (
                row["name"],
                row["images"],
                percent(float(row["top1"])),
                percent(float(row["top5"])),
                row["taken_for"],
                row["times"] if row["taken_for"] else "",
            )
            for row in sorted(csv.DictReader(table), key=lambda row: float(row["top1"]))
        ]
    except (KeyError, TypeError, ValueError):
        raise run.spoilt(run.plan.round_file(number, *names)) from None
