"""Tables of figures, as a step leaves them and as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return a table; cells are text or numbers."""
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def markdown(tables: Sequence[dict[str, Any]]) -> str:
    """Return the tables one after another."""
    return "\n\n".join(_one(each) for each in tables)


def _one(each: dict[str, Any]) -> str:
    rows = [[_cell(value) for value in row] for row in each["rows"]]
    widths = [max(map(len, column)) for column in zip(each["columns"], *rows)]
    lines = [_line(row, widths) for row in (each["columns"], ["-" * w for w in widths], *rows)]
    return "\n".join([f"{each['title']}\n", *lines])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
