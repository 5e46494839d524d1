"""What a report says first: the result, the rounds, the images, the time."""

from __future__ import annotations

from sjft_tools.experiment.finished import FinishedRun, count_of, percent
from sjft_tools.experiment.page import Fact, Page
from sjft_tools.experiment.time_left import duration


def add_summary(page: Page, run: FinishedRun) -> None:
    """Add it."""
    best = run.outcome.best
    result = run.of_round(best, "test.json")
    low, high = result["interval"]["mean_class"]
    images = (
        count_of(run.target.count, "training image"),
        count_of(result["images"], "test image"),
    )
    seconds = sum(marker["seconds"] for marker in run.done.values())
    facts = [
        Fact(
            "Accuracy, mean over classes",
            f"{percent(result['mean_class'])} %",
            f"after round {best}; 95 % interval {percent(low)} to {percent(high)}",
        ),
        Fact("Rounds", str(run.outcome.rounds), f"ended because {run.outcome.reason}"),
        Fact("Target", f"{result['classes']:,} classes", ", ".join(images)),
        Fact("Source", count_of(run.source.count, "image"), _selected(run)),
        Fact("Time", duration(seconds), f"of work in {count_of(len(run.done), 'step')}"),
    ]
    page.facts(facts)


def _selected(run: FinishedRun) -> str:
    numbers = run.rounds_with("selection")
    if not numbers:
        return ""
    parts = [run.of_round(number, "selection.json")["k0"][0] for number in numbers]
    selected = [f"{part['images'] - part['dropped_images']:,}" for part in parts]
    return f"selected of them, round by round: {', '.join(selected)}"
