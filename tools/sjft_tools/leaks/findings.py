"""What `sjft leaks` found: both measures together, as a table, as JSON, as reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sjft.image_lmdb import ImageLmdb
from sjft_tools.image_sets.class_names import class_name
from sjft_tools.leaks.descriptors import NearDescriptor
from sjft_tools.leaks.search import Pair

FORMAT = "sjft leaks 1"

#: Why a pair is reported, the surest first.
KINDS = ("identical", "near", "descriptor")

_ROWS = 20  # of the table on the screen
_LETTERS = 24


class Finding(NamedTuple):
    """A test image and a source image that seem to show one picture, by their positions.

    `kind`: one of KINDS: equal pixels; `likeness` at the threshold or above; the descriptors'
    distance alone. `likeness`, `is_mirrored`: None if only the descriptors were compared.
    `distance`, `ratio`: see NearDescriptor; None without descriptors, or if they are not near.
    """

    test: int
    source: int
    kind: str
    likeness: float | None
    is_mirrored: bool | None
    distance: float | None
    ratio: float | None


def findings(pairs: Iterable[Pair], near: Iterable[NearDescriptor]) -> list[Finding]:
    """Return what either measure found, each pair once, by (kind, likeness, ratio, positions)."""
    by_descriptor = {(pair.test, pair.source): pair for pair in near}
    found = []
    for pair in pairs:
        kind = "identical" if pair.is_identical else "near"
        other = by_descriptor.pop((pair.test, pair.source), None)
        measures = (other.distance, other.ratio) if other else (None, None)
        found.append(
            Finding(pair.test, pair.source, kind, pair.likeness, pair.is_mirrored, *measures)
        )
    for (test, source), other in by_descriptor.items():
        found.append(Finding(test, source, "descriptor", None, None, other.distance, other.ratio))
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[int, float, float, int, int]:
    alike = finding.likeness or 0.0
    ratio = 1.0 if finding.ratio is None else finding.ratio
    return KINDS.index(finding.kind), -alike, ratio, finding.test, finding.source


def summary(found: Sequence[Finding], tests: ImageLmdb, source: ImageLmdb) -> str:
    """Return one sentence: how many images of each side, and of each kind."""
    if not found:
        return (
            f"no image of {source.path} was found to show the same picture as one of the "
            f"{tests.count} test images of {tests.path}"
        )
    kinds = Counter(finding.kind for finding in found)
    words = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
    sources = len({finding.source for finding in found})
    shown = len({finding.test for finding in found})
    return (
        f"{sources} of {source.count} source images show {shown} of {tests.count} test images "
        f"(pairs: {words})"
    )


def table(found: Sequence[Finding], tests: ImageLmdb, source: ImageLmdb) -> str:
    """Return the first pairs as lines of text, and how many more there are.

    A measure that none of them has gets no column.
    """
    if not found:
        return ""
    rows = [("kind", "likeness", "distance", "test image", "source image")]
    for one in found[:_ROWS]:
        alike = "" if one.likeness is None else f"{one.likeness:.3f}"
        distance = "" if one.distance is None else f"{one.distance:#.4g}"
        hand = " mirrored" if one.is_mirrored else ""
        rows.append(
            (
                one.kind,
                alike,
                distance,
                _words(tests, one.test),
                _words(source, one.source) + hand,
            )
        )
    columns = [column for column in zip(*rows) if any(column[1:])]  # those with anything in them
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(f"{word:<{w}}" for word, w in zip(row, widths)).rstrip() for row in zip(*columns)
    ]
    if len(found) > _ROWS:
        lines.append(f"and {len(found) - _ROWS} more pairs")
    return "\n".join(lines)


def reasons(found: Sequence[Finding], tests: ImageLmdb) -> dict[int, str]:
    """Return why each source image is to be left out, by its position, in ascending order."""
    by_source: dict[int, list[Finding]] = {}
    for one in found:
        by_source.setdefault(one.source, []).append(one)
    return {position: _reason(by_source[position], tests) for position in sorted(by_source)}


def _reason(of_one: list[Finding], tests: ImageLmdb) -> str:
    first = of_one[0]
    how = {
        "identical": "the pixels of",
        "near": f"likeness {first.likeness or 0:.3f} to",
        "descriptor": f"descriptor at {first.ratio or 0:.2f} of the usual distance to",
    }[first.kind]
    more = f" and {len(of_one) - 1} more" if len(of_one) > 1 else ""
    return f"{how} {tests.name(first.test)}{more}"


def as_json(found: Sequence[Finding], tests: ImageLmdb, source: ImageLmdb) -> dict[str, Any]:
    """Return the findings for the JSON file: see docs/formats.md."""
    return {
        "leaked_test_images": len({one.test for one in found}),
        "leaking_source_images": len({one.source for one in found}),
        "pairs": [
            {
                "kind": one.kind,
                "test": one.test,
                "test_key": tests.key(one.test).decode(errors="replace"),
                "source": one.source,
                "source_key": source.key(one.source).decode(errors="replace"),
                "likeness": one.likeness,
                "mirrored": one.is_mirrored,
                "distance": one.distance,
                "ratio": one.ratio,
            }
            for one in found
        ],
    }


def _words(images: ImageLmdb, i: int) -> str:
    """Return an image's key and class."""
    name = class_name(images.class_names, int(images.labels[i]))
    words = f"{images.key(i).decode(errors='replace')} {name}"
    return words if len(words) <= _LETTERS * 2 else words[: _LETTERS * 2 - 1] + "…"
