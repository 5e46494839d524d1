"""The accuracies of scores as text, as JSON, and as a table of classes."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np

from sjft_tools.evaluation.accuracy import Accuracy, accuracy, label_ranks
from sjft_tools.evaluation.bootstrap import CONFIDENCE, RESAMPLES, SEED, Intervals, intervals
from sjft_tools.evaluation.scores_file import Scores
from sjft_tools.image_sets.class_names import class_name

FORMAT = "sjft evaluation 2"


class Result:
    """The accuracies of `scores`, with their intervals."""

    def __init__(self, scores: Scores) -> None:
        """Reckon them."""
        self.scores = scores
        self.accuracy: Accuracy = accuracy(scores.scores, scores.labels)
        self.intervals: Intervals = intervals(scores.scores, scores.labels)

    def name(self, label: int) -> str:
        """Return the name of a class, or its number in words."""
        return class_name(self.scores.class_names, label)

    def text(self) -> str:
        """Return the result as lines of text, accuracies in per cent."""
        a = self.accuracy
        classes, seen = len(a.images), int((a.images > 0).sum())
        lines = [
            f"images        {a.images.sum()}",
            f"classes       {classes}"
            + (f", {seen} of them with images" if seen < classes else ""),
        ]
        for title, field in (("top-1", "top1"), ("top-5", "top5"), ("mean class", "mean_class")):
            low, high = getattr(self.intervals, field)
            lines.append(
                f"{title:<13} {100 * getattr(a, field):6.2f} %   {100 * CONFIDENCE:.0f} % interval "
                f"{100 * low:.2f} to {100 * high:.2f}"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, shares from 0 to 1, without classes without images."""
        a, names = self.accuracy, self.scores.class_names
        per_class = [
            {
                "label": label,
                "name": names[label] if label < len(names) else "",
                "images": int(count),
                "top1": float(a.per_class[label]),
            }
            for label, count in enumerate(a.images)
            if count
        ]
        return {
            "format": FORMAT,
            "test_lmdb": self.scores.path,
            "test_fingerprint": self.scores.fingerprint,
            "models": self.scores.models,
            "images": int(a.images.sum()),
            "classes": len(a.images),
            "top1": a.top1,
            "top5": a.top5,
            "mean_class": a.mean_class,
            "interval": {
                "confidence": CONFIDENCE,
                "resamples": RESAMPLES,
                "seed": SEED,
                **{name: list(ends) for name, ends in self.intervals._asdict().items()},
            },
            "per_class": per_class,
        }

    def write_per_class(self, path: str, confusion: np.ndarray) -> None:
        """Write a CSV with a row for every class with images.

        `confusion`: int64 C x C, of confusion_matrix. `taken_for` is the class for which its images
        are mistaken most often, empty if none is.
        """
        ranks = label_ranks(self.scores.scores, self.scores.labels)
        classes = len(self.accuracy.images)
        in_five = np.bincount(self.scores.labels[ranks < 5], minlength=classes)
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["label", "name", "images", "top1", "top5", "taken_for", "times"])
            for label, count in enumerate(self.accuracy.images):
                if not count:
                    continue
                others = np.where(np.arange(classes) == label, 0, confusion[label])
                worst = int(others.argmax())
                mistaken = [self.name(worst), others[worst]] if others[worst] else ["", 0]
                shares = (self.accuracy.per_class[label], in_five[label] / count)
                writer.writerow(
                    [label, self.name(label), count, *(f"{s:.6f}" for s in shares), *mistaken]
                )
