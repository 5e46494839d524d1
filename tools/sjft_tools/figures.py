"""Figures by matplotlib, which is slow to import, and which only pictures need."""

from __future__ import annotations

from typing import Any

from sjft.errors import InputError

#: Settings of matplotlib by which a PDF's letters are TrueType: publishers refuse its own Type 3.
PDF_LETTERS: Any = {"pdf.fonttype": 42}


def new_figure(width: int, height: int) -> Any:
    """Return an empty figure of `width` x `height` pixels that no window will show.

    Raises InputError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            f"drawing needs matplotlib ({error}): install the Python package matplotlib"
        ) from None
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)  # or matplotlib 3.3 warns of itself in tight_layout
    return figure


def literal(words: str) -> str:
    """Return `words` such that a figure shows them as they are: two dollars enclose a formula."""
    return words.replace("$", r"\$")
