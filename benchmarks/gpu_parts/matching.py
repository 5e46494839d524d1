"""Step: as many sources as ImageNet has against 5,360 targets on the GPU, exactly, K = 5,000.

In the same run: the rates of the bare matrix product of the same form, in float32 and in the
arithmetic that the first pass takes on this GPU; where a block's time goes; and the authors' way on
a slice. Where time is short a share of the sources is matched and the time
scaled; limits are those of all sources all the same. A few targets are checked against a literal
reading in float64.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from clock import best_seconds, wait
from descriptor_stream import BINS, DescriptorStream
from matching_check import verify
from matching_stages import breakdown
from step import Findings, Settings, run, seconds_left
from tables import table

from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching.candidates import Candidates, Collector
from sjft_tools.matching.device_arithmetic import fastest, multiply_in
from sjft_tools.matching.limits import limits, sample_positions
from sjft_tools.matching.matcher import Matcher
from sjft_tools.matching.operands import SLAB
from sjft_tools.matching.products import DeviceProduct
from sjft_tools.matching.rounding import FLOAT32, Arithmetic
from sjft_tools.overlap import in_order

#: The goals: share of the product's rate, and times the authors' way.
SHARE, TIMES = 0.5, 100
#: What of the step's time is kept for the end: joining candidates, checking, the authors' way.
_KEPT = 0.3
#: Blocks that are drawn, then matched.
_AT_A_TIME = 48


def main(settings: Settings, findings: Findings) -> None:
    device = "cpu" if settings["gpu"] is None else "cuda"
    layers = [Layer(n, c, pixels, 0.5 / c) for n, c, pixels in settings["layers"]]
    sources, k = settings["sources"], settings["k"]
    size = settings["block"]
    begin = time.perf_counter()
    stream = DescriptorStream(layers, settings["targets"], settings["pool"], size, device)
    wait()
    findings.add(seconds_to_draw=time.perf_counter() - begin)
    distance = Distance(layers, BINS)
    product = DeviceProduct(device)

    begin = time.perf_counter()
    sample = rows_of(stream, sample_positions(sources, k, seed=1), size)
    drawn = time.perf_counter()
    far = limits(distance, stream.targets, [sample], len(sample), sources, k, product)
    limit_s = time.perf_counter() - drawn
    findings.add(seconds_to_draw_sample=drawn - begin, seconds_for_limits=limit_s)

    until = settings["deadline"] - _KEPT * seconds_left(settings)
    matcher = Matcher(distance, stream.targets, far, product)
    spent, found, done = match(stream, matcher, len(far), settings, until)
    taken = fastest(torch.device(device))
    rates = {
        each.name: product_rate(settings, distance.dimensions, device, each)
        for each in (FLOAT32, taken)
    }
    per_second = report(settings, distance, spent, limit_s, done, rates, taken.name, findings)
    findings.add(candidates=len(found.targets))
    breakdown(stream, matcher, findings)

    differing = verify(stream, distance, found, far, done, settings)
    findings.add(
        table(
            "Against a literal reading in float64",
            ["targets", "of them different"],
            [[settings["verified"], differing]],
        ),
        differing=differing,
    )
    authors(stream, layers, settings, per_second, findings)
    if differing:
        raise SystemExit(f"{differing} targets have other neighbours than by a literal reading")


def report(
    settings: Settings,
    distance: Distance,
    spent: dict[str, float],
    limit_s: float,
    done: int,
    rates: dict[str, float],
    taken: str,
    findings: Findings,
) -> float:
    """Write down how fast `done` sources were matched; return pairs per second.

    `rates`: the product's in float32 and in the arithmetic `taken`.
    """
    sources, targets = settings["sources"], settings["targets"]
    whole = {name: seconds * sources / done for name, seconds in spent.items()}
    per_second = targets * sources / (whole["match"] + limit_s)
    # the first pass: two products over all dimensions
    reckoned = per_second * 2 * 2 * distance.dimensions
    share, share_of_taken = reckoned / rates["float32"], reckoned / rates[taken]
    rows: list[list[Any]] = [
        ["sources matched", done],
        ["share of all", done / sources],
        ["limits from a sample, s", limit_s],
        ["first pass and exact distances, s, all sources", whole["match"]],
        ["choosing the nearest, s, all sources", whole["choose"]],
        ["drawing and copying sources, not sjft's, s, all sources", whole["draw"]],
        ["pairs/s, limits included, choosing not", per_second],
        ["matrix product alone, float32, TFLOP/s", rates["float32"] / 1e12],
        [f"share of its rate (goal: above {SHARE:.0%})", share],
        [f"matrix product alone, {taken}, as the first pass's, TFLOP/s", rates[taken] / 1e12],
        ["share of its rate", share_of_taken],
    ]
    title = (
        f"{sources:,} sources, {targets:,} targets, K = {settings['k']:,}, "
        f"{distance.dimensions:,} dimensions"
    )
    findings.add(
        table(title, ["", "found"], rows),
        seconds=spent,
        sources_done=done,
        scaled=whole,
        product_flops=rates,
        arithmetic=taken,
        share=share,
        share_of_arithmetic=share_of_taken,
        pairs_per_second=per_second,
    )
    return per_second


def rows_of(stream: DescriptorStream, positions: np.ndarray, size: int) -> np.ndarray:
    """Return the descriptors at some positions of the stream."""
    blocks = positions // size
    parts = [stream.rows(int(b), positions[blocks == b] % size) for b in np.unique(blocks)]
    return np.concatenate(parts) if parts else stream.block(0, 0)


def match(
    stream: DescriptorStream, matcher: Matcher, targets: int, settings: Settings, until: float
) -> tuple[dict[str, float], Candidates, int]:
    """Match all; return seconds by what they were for, neighbours, sources done.

    A few blocks are drawn before any of them is matched, as match_all() does it.
    """
    size, sources = settings["block"], settings["sources"]
    collector = Collector(targets, settings["k"])
    spent = {"draw": 0.0, "match": 0.0, "choose": 0.0}
    done = 0
    while done < sources and time.time() < until:
        moments = [time.perf_counter()]
        blocks = []
        while len(blocks) < _AT_A_TIME and done < sources:
            counts = stream.block(done // size, min(size, sources - done))
            positions = np.arange(done, done + len(counts))
            starts = range(0, len(counts), matcher.block)
            cuts = (slice(i, i + matcher.block) for i in starts)
            blocks += [(positions[cut], counts[cut]) for cut in cuts]
            done += len(counts)
        wait()
        moments.append(time.perf_counter())
        threads = matcher.at_once
        found = list(in_order(lambda some: matcher.match(*some), blocks, threads, threads - 1))
        wait()
        moments.append(time.perf_counter())
        for some in found:
            collector.add(some)
            matcher.tighten(collector.limits)
        moments.append(time.perf_counter())
        for name, seconds in zip(spent, np.diff(moments)):
            spent[name] += float(seconds)
    begin = time.perf_counter()
    result = collector.result()
    spent["choose"] += time.perf_counter() - begin
    return spent, result, done


def product_rate(settings: Settings, dimensions: int, device: str, arithmetic: Arithmetic) -> float:
    """Return the FLOP/s of the product of a block's form in `arithmetic`."""
    inner = min(arithmetic.terms, 2 * min(SLAB, dimensions))
    sources = torch.rand((settings["block"], inner), device=device)
    targets = torch.rand((settings["targets"], inner), device=device)
    total = torch.zeros((settings["block"], settings["targets"]), device=device)
    multiply_in(arithmetic)
    seconds = best_seconds(lambda: total.addmm_(sources, targets.T), inner=10)
    return 2 * total.numel() * inner / seconds


def authors(
    stream: DescriptorStream,
    layers: list[Layer],
    settings: Settings,
    pairs_per_second: float,
    findings: Findings,
) -> None:
    """Time the authors' way on a slice, as descriptors lie in a blob and turned for its threads."""
    from authors_way import distances, literal

    from sjft_tools.numba_cuda import cuda

    number, targets = settings["authors"]
    repeated = [BINS * layer.channels for layer in layers]
    pixels = np.repeat([layer.pixels for layer in layers], repeated)
    weights = np.repeat([layer.weight / 2 for layer in layers], repeated).astype(np.float32)
    p = (stream.targets[:targets] / pixels).astype(np.float32)
    q = (stream.block(0, number) / pixels).astype(np.float32)
    out = cuda.to_device(np.zeros((targets, number), np.float32))
    on_gpu = [cuda.to_device(array) for array in (p, q, weights)]
    turned = cuda.to_device(np.asfortranarray(q))
    rows, rates = [], {}
    for name, sources in (("as they lie in a blob", on_gpu[1]), ("turned", turned)):
        distances(on_gpu[0], sources, on_gpu[2], out)  # compiles
        cuda.synchronize()
        begin = time.perf_counter()
        distances(on_gpu[0], sources, on_gpu[2], out)
        cuda.synchronize()
        rates[name] = targets * number / (time.perf_counter() - begin)
        all_pairs = settings["targets"] * settings["sources"]
        rows.append(
            [
                f"sources {name}",
                rates[name],
                all_pairs / rates[name],
                pairs_per_second / rates[name],
            ]
        )
    few = literal(p[:2], q[:8], weights)
    error = float(np.abs(out.copy_to_host()[:2, :8] - few).max() / np.abs(few).max())
    columns = [
        "",
        "pairs/s",
        "s, all sources",
        f"times as fast is sjft, choosing left out (goal: {TIMES})",
    ]
    findings.add(
        table(f"The authors' way, on {targets} x {number} pairs", columns, rows),
        authors=rates,
        authors_error=error,
    )
    if not error < 1e-3:
        raise SystemExit(f"the authors' way is off by {error}")


if __name__ == "__main__":
    run(main)
