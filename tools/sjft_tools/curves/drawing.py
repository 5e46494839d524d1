"""Curves as a picture, in the way of He et al.: training dashed, validation solid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sjft_tools.curves.run import TEST, TRAIN, Key, Run, Series, is_accuracy
from sjft_tools.figures import PDF_LETTERS, literal, new_figure

_PANEL = (620, 420)  # pixels
_LEGEND = 34  # pixels for each row of the legend
_STYLES: tuple[Any, ...] = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # of the test nets, in order
_POINTS = 40  # training curves are smoothed so far that about so many values could be told apart


def quantities(runs: Sequence[Run]) -> list[str]:
    """Return the quantities that runs have, accuracies first, then losses, by task."""
    found: dict[str, bool] = {}
    for run in runs:
        for key, series in run.series().items():
            accurate = is_accuracy(key.quantity, series.values)
            found[key.quantity] = found.get(key.quantity, True) and accurate
    order = {name: place for place, name in enumerate(found)}
    return sorted(found, key=lambda name: (not found[name], name == "lr", order[name]))


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of each value and those around it, `window` in all, fewer at the ends.

    `values`: float64 (n,).
    """
    half = min(window, len(values)) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def draw_curves(runs: Sequence[Run], shown: Sequence[str], window: int | None, path: str) -> None:
    """Draw one panel for each quantity of `shown` into `path`, a PNG, SVG or PDF.

    Accuracies are drawn as errors in per cent. `window`: how many values of a training curve are
    averaged; None for about a fortieth of them.
    """
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    all_series = [run.series() for run in runs]
    nets = sorted({key.net for found in all_series for key in found if key.phase == TEST})
    entries = 1 + len(nets) + (len(runs) if len(runs) > 1 else 0)
    in_row = min(entries, 2 * columns + 1)
    legend = _LEGEND * math.ceil(entries / in_row) + 10
    height = rows * _PANEL[1] + legend
    figure = new_figure(columns * _PANEL[0], height)
    for place, quantity in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        _draw_panel(axes, quantity, all_series, window)
    figure.legend(
        handles=_legend_handles(runs, nets),
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 6 / height),
        ncol=in_row,
        fontsize=9,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - legend / height))
    _save(figure, path)


def _draw_panel(
    axes: Any, quantity: str, all_series: Sequence[dict[Key, Series]], window: int | None
) -> None:
    mine = [
        (number, key, series)
        for number, found in enumerate(all_series)
        for key, series in found.items()
        if key.quantity == quantity
    ]
    is_error = all(is_accuracy(quantity, series.values) for _, _, series in mine)
    for number, key, series in mine:
        values = 100 * (1 - series.values) if is_error else series.values
        colour = f"C{number % 10}"
        if key.phase == TRAIN:
            size = max(1, len(values) // _POINTS) if window is None else window
            if size > 1:
                axes.plot(series.iterations, values, color=colour, alpha=0.18, linewidth=0.6)
            values = values if quantity == "lr" else smoothed(values, size)
            style: Any = "--"
        else:
            style = _STYLES[key.net % len(_STYLES)]
        marker = "." if len(values) == 1 else None
        axes.plot(
            series.iterations, values, color=colour, linestyle=style, linewidth=1.4, marker=marker
        )
    axes.set_title(literal(f"{quantity}: error" if is_error else quantity), fontsize=10)
    axes.set_xlabel("iteration", fontsize=9)
    if is_error:
        axes.set_ylabel("error (%)", fontsize=9)
    if quantity == "lr" and all((series.values > 0).all() for _, _, series in mine):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)


def _legend_handles(runs: Sequence[Run], nets: Sequence[int]) -> list[Any]:
    """Return what says which colour is which run, and which style is which phase."""
    from matplotlib.lines import Line2D

    grey = "0.3" if len(runs) > 1 else "C0"
    handles = [Line2D([], [], color=grey, linestyle="--", label="training")]
    for net in nets:
        label = "validation" if len(nets) == 1 else f"validation, test net {net}"
        handles.append(
            Line2D([], [], color=grey, linestyle=_STYLES[net % len(_STYLES)], label=label)
        )
    if len(runs) > 1:
        handles += [
            Line2D([], [], color=f"C{number % 10}", linewidth=4, label=literal(run.name))
            for number, run in enumerate(runs)
        ]
    return handles


def _save(figure: Any, path: str) -> None:
    """Write the figure; equal figures make equal bytes."""
    import matplotlib

    if path.endswith(".svg"):
        with matplotlib.rc_context({"svg.hashsalt": "sjft", "svg.fonttype": "none"}):
            figure.savefig(path, format="svg", metadata={"Date": None})
    elif path.endswith(".pdf"):
        with matplotlib.rc_context(PDF_LETTERS):
            figure.savefig(path, format="pdf", metadata={"CreationDate": None})
    else:
        figure.savefig(path, format="png")
