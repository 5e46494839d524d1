"""The report on a neighbour LMDB, as JSON and as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft_tools.image_sets.class_names import class_name
from sjft_tools.neighbour_report.counting import QUANTILES, Counts, least_k0, random_union

FORMAT = "sjft neighbour report 1"

#: About as many source images the method asks for in all (Ge & Yu 2017, section 4): with fewer
#: the network overfits.
ENOUGH = 200_000

_HUBS = 10
_CLASSES = 5  # in the text
_POINTS = 60  # of the curve


def as_json(counts: Counts, source: ImageLmdb, want: int, least: int) -> dict[str, Any]:
    """Return the report: see docs/formats.md.

    `want`: the number of images for which a K_0 is suggested; `least`: the min_source_per_class
    whose effect is told.
    """
    selected = counts.selected()
    points = np.unique(np.rint(np.geomspace(1, counts.most_k0, _POINTS)).astype(np.int64))
    return {
        "targets": len(next(iter(counts.sizes.values()))),
        "sources": source.count,
        "most_k0": counts.most_k0,
        "want": want,
        "suggested_k0": least_k0(selected, want),
        "most_images": int(selected[-1]),
        "min_source_per_class": least,
        "k0": [
            _of_one(k0, uses, counts.sizes[k0], source, least) for k0, uses in counts.uses.items()
        ],
        "selected": [[int(k0), int(selected[k0])] for k0 in points],
        "quantiles": list(QUANTILES),
        "distances": [
            [int(rank), *map(float, column)]
            for rank, column in zip(counts.ranks, counts.distances.T)
        ],
    }


def _of_one(
    k0: int | None, uses: np.ndarray, sizes: np.ndarray, source: ImageLmdb, least: int
) -> dict[str, Any]:
    """Return the report's part on one K_0."""
    labels = np.asarray(source.labels)
    used = np.flatnonzero(uses)
    images = np.bincount(labels[used])
    neighbours = np.bincount(labels[used], weights=uses[used]).astype(np.int64)
    times = np.sort(uses[used])[::-1]
    hubs = used[np.lexsort((used, -uses[used]))][:_HUBS]
    order = np.lexsort((np.arange(len(images)), -neighbours))
    dropped = (images > 0) & (images < least)
    return {
        "k0": k0,
        "neighbours": int(times.sum()),
        "images": len(used),
        "images_if_random": round(random_union(sizes, source.count)),
        "classes": int(np.count_nonzero(images)),
        "mean_uses": float(times.mean()),
        "median_uses": float(np.median(times)),
        "share_of_top_percent": float(times[: -(-len(times) // 100)].sum() / times.sum()),
        "hubs": [
            {
                "source": int(i),
                "key": source.key(int(i)).decode(errors="replace"),
                "class": class_name(source.class_names, int(labels[i])),
                "uses": int(uses[i]),
            }
            for i in hubs
        ],
        "dropped_classes": int(np.count_nonzero(dropped)),
        "dropped_images": int(images[dropped].sum()),
        "per_class": [
            {
                "label": int(label),
                "name": class_name(source.class_names, int(label)),
                "images": int(images[label]),
                "neighbours": int(neighbours[label]),
            }
            for label in order
            if images[label]
        ],
    }


def as_text(report: dict[str, Any]) -> str:
    """Return the report for the screen; its last lines warn and suggest."""
    targets, sources = report["targets"], report["sources"]
    header = ("K_0", "images", "if random", "classes", "mean uses", "most uses", "dropped classes")
    rows = [header]
    for part in report["k0"]:
        rows.append(
            (
                "K_i" if part["k0"] is None else str(part["k0"]),
                str(part["images"]),
                str(part["images_if_random"]),
                str(part["classes"]),
                f"{part['mean_uses']:.1f}",
                str(part["hubs"][0]["uses"]),
                str(part["dropped_classes"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [f"{targets} target images, {sources} source images"]
    lines += ["  ".join(f"{word:>{w}}" for word, w in zip(row, widths)) for row in rows]
    if report["min_source_per_class"]:
        lines.append(
            f"dropped classes: those with fewer than {report['min_source_per_class']} images "
            f"(min_source_per_class)"
        )
    last = report["k0"][-1]
    lines += ["", f"{words(last['k0'])}, the images used most (of {targets} targets):"]
    lines += [f"  {hub['uses']:6d}  {hub['key']}  {hub['class']}" for hub in last["hubs"][:5]]
    lines.append(
        f"  the top 1 % of the images are {100 * last['share_of_top_percent']:.1f} % of all "
        f"neighbours"
    )
    lines.append("the classes used most:")
    for part in last["per_class"][:_CLASSES]:
        share = 100 * part["neighbours"] / last["neighbours"]
        lines.append(f"  {share:5.1f} %  {part['images']} images  {part['name']}")
    lines += [
        "",
        "distance at rank  " + "  ".join(f"{100 * q:>5.0f} %" for q in report["quantiles"]),
    ]
    step = max(1, len(report["distances"]) // 6)
    shown = report["distances"][::-1][::step][::-1]
    if shown[0][0] != 1:
        shown = [report["distances"][0], *shown]
    lines += [f"{row[0]:16d}  " + "  ".join(f"{d:7.4f}" for d in row[1:]) for row in shown]
    return "\n".join([*lines, "", *advice(report)])


def advice(report: dict[str, Any]) -> list[str]:
    """Return sentences: which K_0 select too few images, and which would select enough."""
    lines = []
    few = [part for part in report["k0"] if part["images"] < ENOUGH]
    if few:
        which = ", ".join(f"{part['images']} {words(part['k0'])}" for part in few)
        lines.append(
            f"warning: fewer source images are selected than the {ENOUGH} or so that the method "
            f"asks for ({which}): with fewer the network overfits"
        )
    want = report["want"]
    if report["suggested_k0"] is not None:
        lines.append(f"K_0 = {report['suggested_k0']} is the least that selects {want} images")
    elif want > report["sources"]:
        lines.append(f"no K_0 selects {want} images: the source holds {report['sources']}")
    else:
        lines.append(
            f"no K_0 up to {report['most_k0']} selects {want} images, that selects "
            f"{report['most_images']}: run 'sjft retrieve' with a larger --k"
        )
    return lines


def words(k0: int | None) -> str:
    """Return how a K_0 is spoken of."""
    return "at the levels file's K_i" if k0 is None else f"at K_0 = {k0}"
