"""The report on a neighbour LMDB as a figure of four panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sjft_tools.figures import new_figure
from sjft_tools.neighbour_report.counting import Counts
from sjft_tools.neighbour_report.report import ENOUGH, words

_CLASSES = 15
_POINTS = 400  # of the curve of uses


def draw_figure(report: dict[str, Any], counts: Counts, path: str) -> None:
    """Draw `report`, of report.as_json, and `counts` into the PNG `path`.

    Raises InputError if matplotlib is missing.
    """
    figure = new_figure(1100, 800)
    (selected, distances), (uses, classes) = figure.subplots(2, 2)
    _draw_selected(selected, report)
    _draw_distances(distances, report)
    _draw_uses(uses, counts)
    _draw_classes(classes, report)
    figure.tight_layout()
    figure.savefig(path, format="png")


def _draw_selected(axes: Any, report: dict[str, Any]) -> None:
    k0, images = np.array(report["selected"]).T
    axes.loglog(k0, images, label="selected")
    parts = [part for part in report["k0"] if part["k0"] is not None]
    axes.loglog(
        [part["k0"] for part in parts],
        [part["images_if_random"] for part in parts],
        "o",
        label="if neighbours were random",
    )
    axes.axhline(ENOUGH, color="grey", linestyle=":", label=f"{ENOUGH}, which the method asks for")
    axes.axhline(report["sources"], color="black", linewidth=0.8, label="all source images")
    axes.set(title="Distinct source images", xlabel="K_0", ylabel="images")
    axes.legend(fontsize=8)


def _draw_distances(axes: Any, report: dict[str, Any]) -> None:
    table = np.array(report["distances"])
    for column, quantile in enumerate(report["quantiles"], 1):
        axes.semilogx(table[:, 0], table[:, column], label=f"{100 * quantile:.0f} %")
    axes.set(title="Distance, quantiles over the targets", xlabel="rank", ylabel="distance")
    axes.legend(fontsize=8)


def _draw_uses(axes: Any, counts: Counts) -> None:
    for k0, uses in counts.uses.items():
        times = np.sort(uses[uses > 0])[::-1]
        places = np.unique(np.rint(np.geomspace(1, len(times), _POINTS)).astype(np.int64))
        axes.loglog(places, times[places - 1], label=words(k0))
    axes.set(title="Targets that use a source image", xlabel="images, most used first")
    axes.set_ylabel("targets")
    axes.legend(fontsize=8)


def _draw_classes(axes: Any, report: dict[str, Any]) -> None:
    last = report["k0"][-1]
    parts = last["per_class"][:_CLASSES][::-1]
    shares = [100 * part["neighbours"] / last["neighbours"] for part in parts]
    names = [part["name"][:28].replace("$", r"\$") for part in parts]  # two would be a formula
    axes.barh(range(len(parts)), shares)
    axes.set_yticks(range(len(parts)))
    axes.set_yticklabels(names, fontsize=8)
    axes.set(title=f"Classes used most {words(last['k0'])}", xlabel="% of all neighbours")
