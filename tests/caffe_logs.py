"""Logs as Caffe writes them; BVLC: the front of a line, with a place for a digit."""

from __future__ import annotations

from pathlib import Path

BVLC = "I1125 19:39:0{}.123456 10390 solver.cpp:239] "


def block(front: str, iteration: int, loss: float, accuracy: float | None = None) -> str:
    """What Caffe displays at an iteration, with a test if there is an accuracy."""
    lines = []
    if accuracy is not None:
        lines += [
            f"Iteration {iteration}, Testing net (#0)",
            f"    Test net output #0: accuracy = {accuracy}",
            f"    Test net output #1: target_loss = {loss + 1} (* 1 = {loss + 1} loss)",
        ]
    lines += [
        f"Iteration {iteration} (9.1 iter/s, 2s/20 iters), loss = {loss}",
        f"    Train net output #0: loss = {loss + 9} (* 1 = {loss + 9} loss)",
        f"    Train net output #1: target_loss = {loss / 2}",
        f"Iteration {iteration}, lr = 0.01",
    ]
    return "".join(f"{front.format(i % 10)}{line}\n" for i, line in enumerate(lines))


def write_log(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
