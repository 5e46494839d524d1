"""How fast targets and sources are matched: sjft's exact way beside others.

    python benchmarks/matching.py [--targets 512] [--rounds 5] [--json FILE]
                                  [--lmdbs TARGET SOURCE BINS.npz WEIGHTS]

As many sources as ImageNet has, K = 5,000: the sources are a few thousand descriptors, drawn or of
real images, mixed at random, over and over. Limits come from a sample as in 'sjft retrieve';
sjft's rate includes the time for them, shared among all sources, and all else that matching a
block of sources takes. The ways take turns in random order, each ratio is that of medians. A
float64 brute force checks sjft's candidates of a few targets.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from drawn_descriptors import BINS, LAYERS, draw
from matching_ways import PIXELS, direct_float64, others
from medians import Median, median_of
from results import OUT, save
from turns import measure

from sjft.image_lmdb import ImageLmdb
from sjft_tools.banks import make_bank
from sjft_tools.bins import load_bins
from sjft_tools.describe import Describer
from sjft_tools.distance import Distance
from sjft_tools.histogram import Histogrammer
from sjft_tools.matching.candidates import Candidates, nearest
from sjft_tools.matching.limits import limits, sample_positions
from sjft_tools.matching.matcher import Matcher
from sjft_tools.matching.products import NAMES, SOURCE_BLOCK, make_product

SOURCES, K = 1_281_167, 5000
POOL = 3072
DIRECT, PRODUCT, FAISS, OURS = "direct", "float32 product alone", "faiss", "sjft, "


def real(paths: list[str], targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return descriptors of images all over two LMDBs; those of sources in random order."""
    bins = load_bins(paths[2])
    bank = make_bank(bins.info.bank, paths[3], bins.info.resize, bins.info.resolution)
    describer = Describer(bank, Histogrammer(bins))
    made = []
    for path, most in ((paths[0], targets), (paths[1], POOL)):
        lmdb = ImageLmdb(path, "image")
        positions = positions_of(lmdb.count, most)
        made.append(np.concatenate([s.counts for s in describer.stream(lmdb, positions, path)]))
    return made[0], np.random.default_rng(2).permutation(made[1])


def positions_of(count: int, most: int) -> np.ndarray:
    """Return positions of images all over an LMDB of `count`, at most `most`: ascending int64."""
    return np.sort(np.random.default_rng(1).permutation(count)[:most])


def names() -> list[str]:
    """Return the products that this machine has."""
    found = []
    for name in NAMES[1:]:
        try:
            make_product(name)
        except Exception as error:
            print(f"{name}: {error}")
        else:
            found.append(name)
    return found


def agrees(found: Candidates, far: np.ndarray, targets: np.ndarray, block: np.ndarray) -> bool:
    """Return whether the candidates of a few targets are a float64 brute force's, in its order."""
    shares = block / PIXELS
    for target in range(0, len(targets), max(1, len(targets) // 8)):
        direct = direct_float64(targets[target] / PIXELS, shares)
        expected = np.lexsort((np.arange(len(direct)), direct))
        expected = expected[direct[expected] <= far[target]]
        if found.sources[found.targets == target].tolist() != expected.tolist():
            return False
    return True


def best(medians: dict[str, Median], start: str) -> float:
    """Return the highest median among the ways whose names begin with `start`, nan without one."""
    return max((m.median for n, m in medians.items() if n.startswith(start)), default=float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--targets", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lmdbs", nargs=4, metavar=("TARGET", "SOURCE", "BINS.npz", "WEIGHTS"))
    parser.add_argument("--json", type=Path, default=OUT / "matching.json")
    args = parser.parse_args()
    if args.lmdbs:
        targets, pool = real(args.lmdbs, args.targets)
    else:
        targets, pool = draw(args.targets, POOL, seed=1)
    distance = Distance(LAYERS, BINS)
    sample = pool[sample_positions(SOURCES, K, seed=1) % len(pool)]
    block = pool[:SOURCE_BLOCK]
    block[-1] = block[0]
    positions = np.arange(len(block))
    ways = others(targets, block, max(1, K * len(block) // SOURCES))
    limit_seconds, equal, shares = {}, True, []
    for name in names():
        product = make_product(name)
        begin = time.perf_counter()
        far = limits(distance, targets, [sample], len(sample), SOURCES, K, product)
        limit_seconds[OURS + name] = time.perf_counter() - begin
        matcher = Matcher(distance, targets, far, product)
        found = nearest(matcher.match(positions, block), len(block))
        shares.append(len(found.targets) / (len(targets) * len(block)))
        equal &= agrees(found, far, targets, block)
        ways[OURS + name] = lambda matcher=matcher: (
            matcher.match(positions, block) and len(targets) * len(block)
        )
    rates = measure(ways, args.rounds, 0, "pairs per second")
    for name, seconds in limit_seconds.items():
        extra = seconds / (SOURCES * len(targets))
        rates[name] = [1 / (1 / rate + extra) for rate in rates[name]]
    medians = {name: median_of(values) for name, values in rates.items()}

    print(f"{len(targets)} targets, {os.cpu_count()} cores, {shares[0]:.2%} of the pairs in limits")
    print(f"{'':42}pairs/s, median (95 %)")
    for name, median in sorted(medians.items(), key=lambda item: item[1].median):
        print(f"{name:42}{median.text(',.0f')}")
    ours = best(medians, OURS)
    ratios = {
        name: ours / best(medians, start)
        for name, start in (("direct", DIRECT), ("faiss", FAISS), ("product alone", PRODUCT))
    }
    print("sjft: " + ", ".join(f"{ratio:.3g} x {name}" for name, ratio in ratios.items()))
    print(f"candidates {'equal' if equal else 'DIFFER FROM'} float64 brute force's")
    content = {
        "targets": len(targets),
        "sources": SOURCES,
        "k": K,
        "descriptors": "of images" if args.lmdbs else "drawn",
        "pairs_per_second": rates,
        "seconds_for_limits": limit_seconds,
        "share_of_pairs_within_limits": shares,
        "ratios": ratios,
        "equal": equal,
    }
    save(args.json, content)
    raise SystemExit(0 if equal else 1)


if __name__ == "__main__":
    main()
