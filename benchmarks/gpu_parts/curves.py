"""Draws what layers.py measured, also later, where matplotlib is: curves.py CURVES.csv OUT.png."""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def draw(table: Path, picture: Path) -> bool:
    """Draw the columns of `table`; return False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:  # it is not there, or only for another Python, as a bundle may find it
        return False
    with open(table, newline="") as stream:
        names, *rows = csv.reader(stream)
    columns = [[float(value) for value in column] for column in zip(*rows)]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel=names[0], ylabel="loss")
    for name, column, style in zip(names[1:], columns[1:], ("-", "--")):
        axes.plot(columns[0], column, style, label=name)
    axes.legend()
    figure.savefig(picture, dpi=120)
    return True


if __name__ == "__main__":
    if not draw(Path(sys.argv[1]), Path(sys.argv[2])):
        raise SystemExit("matplotlib is not there")
