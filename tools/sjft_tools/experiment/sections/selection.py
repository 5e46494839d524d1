"""What of the source every round trains with: how many images, how far away, of which classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sjft_tools.experiment.finished import FinishedRun, count_of, percent, sentence
from sjft_tools.experiment.page import Bar, Page
from sjft_tools.experiment.pictures import picture_of_file
from sjft_tools.neighbour_report.report import ENOUGH, advice

_CLASSES = 12
_QUANTILES = (0.05, 0.5, 0.95)


def add_selection(page: Page, run: FinishedRun) -> None:
    """Add what each round selects, how K_i grew, the classes used most, and pictures."""
    page.heading("Selected source images")
    numbers = run.rounds_with("selection")
    reports = [run.of_round(number, "selection.json") for number in numbers]
    if numbers:
        _add_rounds(page, run, numbers, [report["k0"][0] for report in reports])
        dropped = dropped_words(numbers, reports)
        if dropped:
            page.paragraph(dropped)
        _add_warning(page, numbers, reports)
        _add_neighbourhoods(page, run, numbers)
        _add_classes(page, numbers, [report["k0"][0] for report in reports])
    page.subheading("Neighbours")
    page.picture(
        picture_of_file(run.plan.file("gallery.png")),
        "Target images, each with some of its neighbours among the source images.",
    )
    page.picture(
        picture_of_file(run.plan.file("neighbours.png")),
        "How many source images each K_0 selects, how far away neighbours are, how often a source "
        "image is used, and which classes are used most, with all levels 1.",
    )


def _add_rounds(
    page: Page, run: FinishedRun, numbers: Sequence[int], parts: Sequence[dict[str, Any]]
) -> None:
    rows = []
    for number, part in zip(numbers, parts):
        sizes = run.neighbourhoods(number)
        low, middle, high = np.quantile(_farthest(run, sizes), _QUANTILES)
        rows.append(
            (
                f"round {number}",
                f"{part['images']:,}",
                percent(part["images"] / run.source.count),
                f"{part['images_if_random']:,}",
                f"{part['classes']:,}",
                f"{part['mean_uses']:.1f}",
                f"{part['hubs'][0]['uses']:,}",
                f"{middle:.3f} ({low:.3f} to {high:.3f})",
            )
        )
    header = (
        *("", "images", "% of the source", "if random", "classes", "mean uses", "most uses"),
        "distance of the last neighbour",
    )
    page.table("Distinct source images among the first K_i neighbours of all images", header, rows)
    page.paragraph(
        "“If random”: as many distinct images would be selected if the same numbers of neighbours "
        "were drawn at random. Uses: of how many target images a selected image is a neighbour. "
        "Distance: of each target image's K_i-th neighbour, the median over the target images and "
        "the range from 5 to 95 % of them."
    )


def _farthest(run: FinishedRun, sizes: np.ndarray) -> np.ndarray:
    """Return the distance to the K_i-th neighbour of every target image, float64 (T,)."""
    last = [run.neighbours.distances(i, size)[-1] for i, size in enumerate(sizes.tolist())]
    return np.array(last, np.float64)


def dropped_words(numbers: Sequence[int], reports: Sequence[dict[str, Any]]) -> str:
    """Return which of the selected images the rounds `numbers` leave out; "" if none do.

    `reports`: of 'sjft neighbours', one for each round.
    """
    parts = [report["k0"][0] for report in reports]
    if not any(part["dropped_classes"] for part in parts):
        return ""
    dropped = ", ".join(
        f"{count_of(part['dropped_images'], 'image')} of {part['dropped_classes']:,} in round {n}"
        for n, part in zip(numbers, parts)
    )
    return (
        f"Classes with fewer than {reports[0]['min_source_per_class']:,} selected images take no "
        f"part in training (min_source_per_class): {dropped}."
    )


def _add_warning(page: Page, numbers: Sequence[int], reports: Sequence[dict[str, Any]]) -> None:
    few = [
        (number, report["k0"][0]["images"])
        for number, report in zip(numbers, reports)
        if report["k0"][0]["images"] < ENOUGH
    ]
    if not few:
        return
    counts = ", ".join(f"{images:,} in round {number}" for number, images in few)
    page.paragraph(
        f"Fewer source images are selected than the {ENOUGH:,} or so that the method asks for "
        f"({counts}): with fewer the network overfits. {sentence(advice(reports[0])[-1])}",
        is_warning=True,
    )


def _add_neighbourhoods(page: Page, run: FinishedRun, numbers: Sequence[int]) -> None:
    """Add the histogram of K_i: rows of K_i, columns of rounds."""
    sizes = [run.neighbourhoods(number) for number in numbers]
    values = np.unique(np.concatenate(sizes))
    counts = np.array([[np.count_nonzero(each == value) for each in sizes] for value in values])
    page.table(
        "Target images with each number of neighbours K_i",
        ("K_i", *(f"round {number}" for number in numbers)),
        [
            (f"{value:,}", *(Bar(f"{n:,}", n / run.target.count) for n in row.tolist()))
            for value, row in zip(values.tolist(), counts)
        ],
        words=(),
    )


def _add_classes(page: Page, numbers: Sequence[int], parts: Sequence[dict[str, Any]]) -> None:
    """Add the classes that the last round uses most, and their shares in every round."""
    shares = [
        {each["label"]: each["neighbours"] / part["neighbours"] for each in part["per_class"]}
        for part in parts
    ]
    page.table(
        f"The source classes used most in round {numbers[-1]}: % of all neighbours in use",
        ("class", f"images, round {numbers[-1]}", *(f"% in round {n}" for n in numbers)),
        [
            (
                each["name"],
                f"{each['images']:,}",
                *(percent(share.get(each["label"], 0.0)) for share in shares),
            )
            for each in parts[-1]["per_class"][:_CLASSES]
        ],
    )
