"""Hard samples: how many there were after each round, and the hardest with their neighbours."""

from __future__ import annotations

import os

import numpy as np

from sjft_tools.evaluation.mistakes import predictions
from sjft_tools.evaluation.scores_file import Scores, read_scores
from sjft_tools.experiment.finished import FinishedRun
from sjft_tools.experiment.page import Example, Page
from sjft_tools.experiment.pictures import thumbnail
from sjft_tools.hardening import entropies
from sjft_tools.image_sets.class_names import class_name

_EXAMPLES = 12
_NEIGHBOURS = 10
_LARGE, _SMALL = 160, 96  # pixels


def add_hard_samples(page: Page, run: FinishedRun) -> None:
    """Add them; nothing where no round was followed by another."""
    numbers = run.rounds_with("harden")
    if not numbers:
        return
    page.heading("Hard samples")
    rows = []
    for number in numbers:
        moves = run.of_round(number, "moves.json")
        counts = [f"{moves[key]:,}" for key in ("wrong", "uncertain", "certain", "moved")]
        rows.append((f"after round {number}", *counts, f"{moves['delta']:.3f}"))
    page.table(
        "The target's training images, by what the net makes of them",
        ("", "wrong", "uncertain", "certain", "grown", "delta, nats"),
        rows,
    )
    page.paragraph(
        "Uncertain: right, with an entropy of at least delta. The neighbourhoods of wrong images "
        "grow by sigma0, of uncertain ones by sigma1, as far as they may; “grown” counts those "
        "that did. The next round trains with them."
    )
    path = run.plan.training_scores(numbers[-1])
    if os.path.exists(path):
        _add_hardest(page, run, numbers[-1], read_scores(path))


def _add_hardest(page: Page, run: FinishedRun, number: int, scores: Scores) -> None:
    """Add the hardest images after round `number`."""
    predicted = predictions(scores.scores, scores.labels)
    hardest = hardest_images(scores.scores, scores.labels, _EXAMPLES)
    entropy = entropies(scores.scores)
    before, after = run.neighbourhoods(number), run.neighbourhoods(number + 1)
    page.subheading(f"The hardest after round {number}, with their nearest neighbours")
    page.paragraph(
        "Training images of the target: first those that are wrong, the least probability of their "
        "own class first, then by entropy."
    )
    examples = []
    for i in hardest.tolist():
        label = int(scores.labels[i])
        own = f"{100 * scores.scores[i, label]:.0f} % {class_name(scores.class_names, label)}"
        lines = [own]
        if predicted[i] != label:
            other = int(predicted[i])
            taken = 100 * scores.scores[i, other]
            lines = [f"taken for {class_name(scores.class_names, other)}, {taken:.0f} %", own]
        grown = f" → {after[i]:,}" if after[i] != before[i] else ", as before"
        lines += [f"entropy {entropy[i]:.2f} nats", f"K_i {before[i]:,}{grown}", f"image {i}"]
        examples.append(
            Example(
                thumbnail(run.target.image(i), _LARGE),
                class_name(scores.class_names, label),
                lines,
                [
                    (thumbnail(run.source.image(j), _SMALL), _source_class(run, j))
                    for j in run.neighbours.indices(i)[:_NEIGHBOURS].tolist()
                ],
            )
        )
    page.examples(examples)


def hardest_images(scores: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Return the positions of the hardest images, the hardest first, int64 (at most `most`,).

    `scores`: N x C, probabilities; `labels`: int (N,). Wrong ones come first, by the probability of
    their own class, then right ones by entropy; of equals the lower position.
    """
    is_right = predictions(scores, labels) == labels
    own = scores[np.arange(len(labels)), labels]
    ease = np.where(is_right, -entropies(scores), own)
    return np.lexsort((np.arange(len(labels)), ease, is_right))[:most]


def _source_class(run: FinishedRun, j: int) -> str:
    return class_name(run.source.class_names, int(run.source.labels[j]))
