"""Where the time of a block of sources goes: each stage alone, the GPU waited for in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
from clock import wait
from descriptor_stream import DescriptorStream
from step import Findings
from tables import table

from sjft_tools.matching.matcher import Matcher

#: DevicePairs' methods and what they are for; none of them calls another.
_STAGES = {
    "_by_slab": "bringing the counts to the GPU",
    "_source_operand": "making operands of them",
    "_add_product": "matrix product",
    "_near": "choosing pairs and bringing them back",
    "exact": "exact distances",
}
_BLOCKS = 3


def breakdown(stream: DescriptorStream, matcher: Matcher, findings: Findings) -> None:
    """Match a few blocks once more, first as ever, then stage by stage.

    With the limits that `matcher` has; its stages are watched ever after.
    """
    as_ever = _seconds(stream, matcher)
    spent, reckoned = _watch(matcher._pairs)
    waiting = _seconds(stream, matcher)
    spent["the rest, on the CPU"] = waiting - sum(spent.values())
    stages = {stage: seconds / _BLOCKS for stage, seconds in spent.items()}
    rows: list[list[Any]] = [[stage, 1e3 * seconds] for stage, seconds in stages.items()]
    rows += [
        ["all of these", 1e3 * waiting / _BLOCKS],
        ["without waiting in between", 1e3 * as_ever / _BLOCKS],
        ["(pairs whose exact distance was reckoned)", sum(reckoned) // _BLOCKS],
    ]
    findings.add(table("Where a block's time goes, ms", ["", "found"], rows), stages=stages)


def _seconds(stream: DescriptorStream, matcher: Matcher) -> float:
    """Return what it took to match a few blocks, the drawing of them left out."""
    spent = 0.0
    for number in range(_BLOCKS):
        counts = stream.block(number)
        positions = np.arange(len(counts))
        wait()
        begin = time.perf_counter()
        matcher.match(positions, counts)
        wait()
        spent += time.perf_counter() - begin
    return spent


def _watch(pairs: Any) -> tuple[dict[str, float], list[int]]:
    """Return each stage's seconds and the numbers of pairs in exact(), to be added to."""
    spent = dict.fromkeys(_STAGES.values(), 0.0)
    reckoned: list[int] = []

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            wait()
            begin = time.perf_counter()
            result = work(*arguments)
            if isinstance(result, Iterator):
                result = list(result)
            wait()
            spent[_STAGES[name]] += time.perf_counter() - begin
            if name == "exact":
                reckoned.append(len(result))
            return result

        return timed

    for name in _STAGES:
        setattr(pairs, name, watched(name, getattr(pairs, name)))
    return spent, reckoned
