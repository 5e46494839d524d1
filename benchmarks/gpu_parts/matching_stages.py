"""Where the time of a block of sources goes: stage by stage, and what the GPU is busy with."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import torch
from clock import wait
from descriptor_stream import DescriptorStream
from step import Findings
from tables import table

from sjft_tools.matching.matcher import Matcher

#: DevicePairs' methods, and its sources', and what they are for; none of them calls another.
_STAGES = {
    "_sources.by_parts": "bringing the counts to the GPU",
    "_source_operand": "making operands of them",
    "_add_product": "matrix product",
    "_near": "choosing pairs and bringing them back",
    "exact": "exact distances",
}
_BLOCKS = 3
#: Rows of the table of the GPU's work, and letters of a name there.
_ROWS, _LETTERS = 12, 70


def breakdown(stream: DescriptorStream, matcher: Matcher, findings: Findings) -> None:
    """Match a few blocks once more: as ever, then profiled, then waiting after each stage.

    With the limits that `matcher` has; its stages are watched ever after.
    """
    blocks = [stream.block(number) for number in range(_BLOCKS)]
    as_ever = _seconds(blocks, matcher)
    findings.add(_device_work(blocks, matcher))
    spent, reckoned = _watch(matcher._pairs)
    waiting = _seconds(blocks, matcher)
    spent["the rest, on the CPU"] = waiting - sum(spent.values())
    stages = {stage: seconds / _BLOCKS for stage, seconds in spent.items()}
    rows: list[list[Any]] = [[stage, 1e3 * seconds] for stage, seconds in stages.items()]
    rows += [
        ["all of these", 1e3 * waiting / _BLOCKS],
        ["without waiting in between", 1e3 * as_ever / _BLOCKS],
        ["(pairs whose exact distance was reckoned)", sum(reckoned) // _BLOCKS],
    ]
    findings.add(table("Where a block's time goes, ms", ["", "found"], rows), stages=stages)


def _seconds(blocks: list[np.ndarray], matcher: Matcher) -> float:
    """Return what it took to match all blocks."""
    wait()
    begin = time.perf_counter()
    for counts in blocks:
        matcher.match(np.arange(len(counts)), counts)
    wait()
    return time.perf_counter() - begin


def _device_work(blocks: list[np.ndarray], matcher: Matcher) -> dict[str, Any]:
    """Return a table of what keeps the GPU, or without one torch on the CPU, busy."""
    where = "device" if torch.cuda.is_available() else "cpu"
    kind = getattr(torch.profiler.ProfilerActivity, "CUDA" if where == "device" else "CPU")
    with torch.profiler.profile(activities=[kind]) as profile:
        _seconds(blocks, matcher)
    work = [
        [each.key[:_LETTERS], each.count // _BLOCKS, self_time / 1e3 / _BLOCKS]
        for each in profile.key_averages()
        if (self_time := getattr(each, f"self_{where}_time_total")) > 0
    ]
    work.sort(key=lambda row: -row[2])
    total = ["all", sum(row[1] for row in work), sum(row[2] for row in work)]
    columns = ["kernel or copy", "times", "ms"]
    return table("What keeps the GPU busy, ms a block", columns, [total, *work[:_ROWS]])


def _watch(pairs: Any) -> tuple[dict[str, float], list[int]]:
    """Return each stage's seconds and the numbers of pairs in exact(), to be added to."""
    spent = dict.fromkeys(_STAGES.values(), 0.0)
    reckoned: list[int] = []

    def watched(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            wait()
            begin = time.perf_counter()
            result = work(*arguments)
            if isinstance(result, Iterator):
                result = list(result)
            wait()
            spent[stage] += time.perf_counter() - begin
            if stage == _STAGES["exact"]:
                reckoned.append(len(result))
            return result

        return timed

    for path, stage in _STAGES.items():
        *owner, name = path.split(".")
        of = functools.reduce(getattr, owner, pairs)
        setattr(of, name, watched(stage, getattr(of, name)))
    return spent, reckoned
