"""How good every round is, beside what was published; and how its training went."""

from __future__ import annotations

from typing import Any

from sjft_tools.evaluation.protocol import Protocol
from sjft_tools.experiment.finished import FinishedRun, count_of, percent, sentence
from sjft_tools.experiment.page import Page
from sjft_tools.experiment.pictures import picture_of_file

_COLUMNS = ("", "mean over classes", "95 % interval", "top-1", "top-5")


def add_accuracy(page: Page, run: FinishedRun) -> None:
    """Add the table of rounds."""
    page.heading("Accuracy")
    results = [run.of_round(number, "test.json") for number in run.rounds]
    rows = [_row(run, number, result) for number, result in zip(run.rounds, results)]
    paper = run.plan.experiment.paper
    rows += [(f"the paper: {name}", f"{value:.1f}", "", "", "") for name, value in paper.items()]
    page.table(
        f"On {count_of(results[-1]['images'], 'test image')} of the target, in %",
        _COLUMNS,
        rows,
        best=run.outcome.best - 1,
    )
    page.paragraph(
        f"{sentence(Protocol.from_json(results[-1]['models'][-1]).words())} The intervals are by "
        f"bootstrap over the test images. The rounds ended because {run.outcome.reason}."
    )
    if "target_validation" in run.plan.experiment.images:
        validated = [run.of_round(number, "validation.json") for number in run.rounds]
        page.table(
            f"On {count_of(validated[-1]['images'], 'validation image')}, which decide, in %",
            _COLUMNS,
            [_row(run, number, result) for number, result in zip(run.rounds, validated)],
            best=run.outcome.best - 1,
        )


def add_training(page: Page, run: FinishedRun) -> None:
    """Add the curves of all rounds."""
    page.heading("Training")
    page.picture(
        picture_of_file(run.plan.file("curves.png")),
        "Error and loss of every round. Dashed: on the training batches; solid: on the target's "
        "test images, or the validation images where there are any.",
    )


def _row(run: FinishedRun, number: int, result: dict[str, Any]) -> tuple[str, ...]:
    low, high = result["interval"]["mean_class"]
    return (
        f"round {number}" + (" (the result)" if number == run.outcome.best else ""),
        percent(result["mean_class"]),
        f"{percent(low)} to {percent(high)}",
        percent(result["top1"]),
        percent(result["top5"]),
    )
