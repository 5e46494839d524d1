"""How fast targets and sources are matched: sjft's exact way beside the direct ones.

    python benchmarks/matching.py [--targets 200] [--sources 2000] [--k 100] [--json FILE]

Descriptors are drawn, of the AlexNet bank's shape: 352 channels of 100 bins. The direct ways run on
as many pairs as a few seconds allow. sjft's neighbours are compared with those of the float64 brute
force for the targets that it got to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from sjft_tools.banks.bank import Layer
from sjft_tools.distance import EPS, Distance
from sjft_tools.matching import ExactMatcher, nearest

LAYERS = (Layer("conv1", 96, 54 * 54, 0.5 / 96), Layer("conv2", 256, 26 * 26, 0.5 / 256))
BINS = 100
DIMENSIONS = [BINS * layer.channels for layer in LAYERS]
WEIGHTS = np.repeat([layer.weight / 2 for layer in LAYERS], DIMENSIONS)
PIXELS = np.repeat([layer.pixels for layer in LAYERS], DIMENSIONS)
BRUTE_FORCE_SECONDS = 8.0


def draw(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return `count` distinct descriptors: a few drawn ones with their channels turned."""
    few = min(count, 32)
    parts = []
    for layer in LAYERS:
        shape = (few, layer.channels, BINS)
        drawn = rng.gamma(0.3, size=shape) + 0.05
        drawn /= drawn.sum(axis=2, keepdims=True)
        histograms = rng.multinomial(layer.pixels, drawn).astype(np.uint16)
        turns = rng.integers(layer.channels, size=count)
        turned = [np.roll(histograms[i % few], turns[i], axis=0).ravel() for i in range(count)]
        parts.append(np.stack(turned))
    return np.hstack(parts)


def direct_float64(p: np.ndarray, q: np.ndarray) -> float:
    """Section 3 of the method as one writes it down, one target at a time; returns the seconds."""
    begin = time.perf_counter()
    for row in p:
        terms = (row - q) * (np.log(row + EPS) - np.log(q + EPS))
        (terms * WEIGHTS).sum(axis=1)
    return time.perf_counter() - begin


def brute_force(p: np.ndarray, q: np.ndarray, k: int) -> list[np.ndarray]:
    """The same in blocks of sources that fit the cache, for some seconds.

    Returns the neighbours of the targets that it got to.
    """
    found = []
    begin = time.perf_counter()
    for row in p:
        distances = np.empty(len(q))
        for start in range(0, len(q), 32):
            block = q[start : start + 32]
            terms = (row - block) * np.log((row + EPS) / (block + EPS))
            distances[start : start + 32] = terms @ WEIGHTS
        found.append(np.lexsort((np.arange(len(q)), distances))[:k])
        if time.perf_counter() - begin > BRUTE_FORCE_SECONDS:
            break
    return found


def direct_float32(p: np.ndarray, q: np.ndarray, k: int) -> float:
    """The same in float32, the logarithms being given; returns the seconds."""
    p, q = p.astype(np.float32), q.astype(np.float32)
    log_p, log_q = np.log(p + np.float32(EPS)), np.log(q + np.float32(EPS))
    weights = WEIGHTS.astype(np.float32)
    begin = time.perf_counter()
    for row, log_row in zip(p, log_p):
        distances = np.empty(len(q), np.float32)
        for start in range(0, len(q), 32):
            stop = start + 32
            terms = (row - q[start:stop]) * (log_row - log_q[start:stop])
            distances[start:stop] = terms @ weights
        np.argpartition(distances, k - 1)
    return time.perf_counter() - begin


def one_sgemm(p: np.ndarray, q: np.ndarray, k: int) -> float:
    """One float32 matrix product and argpartition: fast, and neither exact nor bounded in memory.

    Returns the seconds that these two take, the operands being given.
    """
    log_p, log_q = np.log(p + EPS), np.log(q + EPS)
    left = np.hstack([WEIGHTS * p, WEIGHTS * log_p]).astype(np.float32)
    right = np.hstack([log_q, q]).astype(np.float32)
    own = (WEIGHTS * q * log_q).sum(axis=1)
    begin = time.perf_counter()
    np.argpartition(own - left @ right.T, k - 1, axis=1)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--sources", type=int, default=2000)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--json", type=Path, default=Path("build/benchmarks/matching.json"))
    args = parser.parse_args()
    if not 0 < args.k <= args.sources:
        parser.error("--k must lie in 1..sources")
    rng = np.random.default_rng(1)
    targets, sources = draw(rng, args.targets), draw(rng, args.sources)
    sources[-1] = sources[0]
    p, q = targets / PIXELS, sources / PIXELS
    plain, blocked = "direct float64, a target at a time", "direct float64, in blocks for the cache"
    rates = {plain: len(p[:3]) * len(q) / direct_float64(p[:3], q)}
    begin = time.perf_counter()
    truth = brute_force(p, q, args.k)
    rates[blocked] = len(truth) * len(q) / (time.perf_counter() - begin)
    some = max(1, 40_000 // args.sources)
    seconds = direct_float32(p[:some], q, args.k)
    rates["direct float32, logarithms given"] = len(p[:some]) * len(q) / seconds
    seconds = one_sgemm(p, q, args.k)
    rates["one float32 product, not exact"] = args.targets * args.sources / seconds

    distance = Distance(LAYERS, BINS)
    exact = ExactMatcher(distance, targets, lambda indices: sources[indices], 32)
    begin = time.perf_counter()
    indices, _ = nearest(distance, targets, iter([sources]), args.k, exact)
    seconds = time.perf_counter() - begin
    rates["sjft, exact"] = args.targets * args.sources / seconds
    equal = all((row == expected).all() for row, expected in zip(indices, truth))

    print(f"{args.targets} targets x {args.sources} sources, K = {args.k}, {os.cpu_count()} cores")
    print(f"{'':40}{'pairs/s':>12}{'times':>8}")
    for name, rate in rates.items():
        print(f"{name:40}{rate:12,.0f}{rate / rates[plain]:8,.0f}")
    print(f"neighbours of {len(truth)} targets {'equal' if equal else 'DIFFER FROM'} brute force's")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "targets": args.targets,
        "sources": args.sources,
        "k": args.k,
        "pairs_per_second": rates,
        "compared_with_brute_force": len(truth),
        "equal": equal,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "numpy": np.__version__,
    }
    args.json.write_text(json.dumps(content, indent=1) + "\n")
    raise SystemExit(0 if equal else 1)


if __name__ == "__main__":
    main()
