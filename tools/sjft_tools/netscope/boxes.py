"""Where the boxes of a net's picture lie: rows from top to bottom, folded into columns.

A box is a layer that writes a blob, with the layers that go on in place. Its row is the length of
the longest way to it; where few edges cross, the rows go on in the next column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sjft_tools.netscope.layers import ShownLayer


@dataclass
class Box:
    """A layer and those in place behind it; `before`: the boxes that it reads from."""

    layer: ShownLayer
    in_place: list[ShownLayer] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    row: int = 0
    lane: int = 0  # from the left, in the row
    column: int = 0


def boxes(layers: list[ShownLayer]) -> list[Box]:
    """The boxes of a net, in the order of its layers, with their rows and lanes."""
    result: list[Box] = []
    writer: dict[str, int] = {}
    for layer in layers:
        if layer.in_place and layer.tops[0] in writer:
            result[writer[layer.tops[0]]].in_place.append(layer)
            continue
        before = list(dict.fromkeys(writer[b] for b in layer.bottoms if b in writer))
        row = 1 + max((result[i].row for i in before), default=-1)
        writer.update((top, len(result)) for top in layer.tops)
        result.append(Box(layer, before=before, row=row))
    _lower_inputs(result)
    _choose_lanes(result)
    return result


def _lower_inputs(result: list[Box]) -> None:
    """Put what reads nothing just above what reads it first."""
    readers: dict[int, int] = {}
    for box in result:
        for i in box.before:
            readers[i] = min(readers.get(i, box.row), box.row)
    for i, box in enumerate(result):
        if not box.before and i in readers:
            box.row = readers[i] - 1


def _choose_lanes(result: list[Box]) -> None:
    """In each row: below the box that is read, as far as there is room; what reads nothing last."""
    rows: dict[int, list[Box]] = {}
    for box in result:
        rows.setdefault(box.row, []).append(box)
    for _, row in sorted(rows.items()):
        row.sort(
            key=lambda box: (not box.before, min((result[i].lane for i in box.before), default=0))
        )
        for lane, box in enumerate(row):
            box.lane = lane


def fold(result: list[Box], rows_wanted: int) -> list[int]:
    """Set the boxes' columns, about `rows_wanted` rows each; return the first row of each."""
    last = max(box.row for box in result)
    crossing = [0] * (last + 2)
    for box in result:
        for i in box.before:
            for row in range(result[i].row + 1, box.row + 1):
                crossing[row] += 1
    starts = [0]
    while last - starts[-1] >= rows_wanted * 5 // 4:
        around = range(starts[-1] + rows_wanted * 3 // 4, starts[-1] + rows_wanted * 5 // 4 + 1)
        ideal = starts[-1] + rows_wanted
        starts.append(min(around, key=lambda row: (crossing[row], abs(row - ideal))))
    for box in result:
        box.column = sum(box.row >= start for start in starts) - 1
    return starts
