"""The folder of details: classes, confusions, and a sheet of the most confident mistakes."""

from __future__ import annotations

import csv
import os

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import new_folder
from sjft_tools.evaluation.mistakes import (
    confusion_matrix,
    most_confident_mistakes,
    predictions,
)
from sjft_tools.evaluation.result import Result
from sjft_tools.figures import literal, new_figure
from sjft_tools.gallery import Tile, draw_gallery, shortened

_COLUMNS = 6
_MISTAKES = 48
_NAMED_CLASSES = 60  # more names than that cannot be read in the picture


def write_details(path: str, result: Result, images: ImageLmdb, force: bool) -> None:
    """Write the folder `path`: per_class.csv, confusion.csv and .png, and mistakes.png if any.

    `images`: the LMDB that the scores are of. Raises InputError if `path` exists and `force` is not
    set, or if an image cannot be decoded.
    """
    scores = result.scores
    classes = scores.scores.shape[1]
    predicted = predictions(scores.scores, scores.labels)
    confusion = confusion_matrix(predicted, scores.labels, classes)
    with new_folder(path, force) as folder:
        result.write_per_class(os.path.join(folder, "per_class.csv"), confusion)
        names = [result.name(label) for label in range(classes)]
        _write_confusion(os.path.join(folder, "confusion.csv"), confusion, names)
        _draw_confusion(os.path.join(folder, "confusion.png"), confusion, names)
        worst = most_confident_mistakes(scores.scores, predicted, scores.labels, _MISTAKES)
        if len(worst):
            _draw_mistakes(os.path.join(folder, "mistakes.png"), result, images, worst, predicted)


def _write_confusion(path: str, confusion: np.ndarray, names: list[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["is \\ taken for", *names])
        writer.writerows([name, *row.tolist()] for name, row in zip(names, confusion))


def _draw_confusion(path: str, confusion: np.ndarray, names: list[str]) -> None:
    """Draw the share of each class's images that is taken for each class."""
    is_named = len(names) <= _NAMED_CLASSES
    side = 4 + 0.2 * len(names) if is_named else 10
    figure = new_figure(int(100 * (side + 1)), int(100 * side))
    axes = figure.add_subplot()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the class's images", fraction=0.04)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if is_named:
        words = [literal(shortened(name)) for name in names]
        axes.set_xticks(range(len(names)))
        axes.set_xticklabels(words, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)))
        axes.set_yticklabels(words, fontsize=7)
    figure.savefig(path, format="png", bbox_inches="tight")


def _draw_mistakes(
    path: str, result: Result, images: ImageLmdb, worst: np.ndarray, predicted: np.ndarray
) -> None:
    """Draw the images `worst` in rows, each with its class and what it is taken for."""
    tiles = []
    for i in worst.tolist():
        sure = result.scores.scores[i, predicted[i]]
        taken_for = f"{100 * sure:.0f} % {result.name(int(predicted[i]))}"
        label = f"{result.name(int(images.labels[i]))}, image {i}"
        tiles.append(Tile(images.image(i), [shortened(label), shortened(taken_for)]))
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    header = ["the most confident mistakes: what the image is, and what it is taken for"]
    draw_gallery(rows, header + [""] * (len(rows[0]) - 1), path)
