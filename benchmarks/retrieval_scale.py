"""Peak memory of `sjft retrieve`, and its time per image, as the source grows.

    python benchmarks/retrieval_scale.py [--sizes 10000 20000 40000 80000] [--rounds 3]

The images are tiny and the bank is Gabor's at 8 x 8 pixels, so that the machinery around the bank
weighs as much as it can. Every round runs all sizes in a random order, in processes of their own.
Memory is what a process has for itself (RssAnon): pages of the LMDB, which the system takes back
when it needs them, do not count. Time is that of the shards, as their stats have it, but for the
first of a run, in which libraries warm up. "core ms/image more" is what a run's cores spent on each
image beyond those of the smallest source, its start included in neither. Figures are medians over
the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from sjft_tools.command import progress
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.overlap import cores

TARGETS = 64
K = 200
BANK = ("--bank", "gabor", "--bins", "20", "--resize", "8")
MIB = 1 << 20
_POLL_S = 0.01


def draw(seed: int) -> bytes:
    """Return a Datum record of a 16 x 16 PNG that differs for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image = cv2.resize(coarse, (16, 16), interpolation=cv2.INTER_CUBIC)
    return encoded_datum(cv2.imencode(".png", image)[1].tobytes(), 0, 16, 16)


def write_images(folder: Path, sizes: list[int]) -> None:
    """Write the target and a source of every size, each the beginning of the next."""
    records = [draw(seed) for seed in progress(range(TARGETS + max(sizes)), "drawing")]
    for name, some in (
        ("target", records[:TARGETS]),
        *((f"source_{size}", records[TARGETS : TARGETS + size]) for size in sizes),
    ):
        with ImageLmdbWriter(str(folder / name)) as writer:
            for record in some:
                writer.add(record, 0)


def run(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Run ``sjft``; return its seconds, its cores' seconds and the bytes it had at most."""
    log = folder / "log"
    spent = _children_core_seconds()
    started = time.perf_counter()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sjft_tools.cli", *arguments],
            cwd=folder,
            stdout=stream,
            stderr=stream,
        )
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        found = [line for line in lines if line.startswith("RssAnon:")]
        peak = max(peak, int(found[0].split()[1]) << 10) if found else peak
        time.sleep(_POLL_S)
    if process.wait():
        raise SystemExit(f"a run failed:\n{log.read_text(errors='replace')}")
    return time.perf_counter() - started, _children_core_seconds() - spent, peak


def _children_core_seconds() -> float:
    """Return the cores' seconds that all processes took which this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(folder: Path, size: int, shard_size: int) -> dict[str, float]:
    """Retrieve from the source of `size` images, its shards first, then the merge."""
    work = folder / "work"
    options = ("--bins-file", "bins.npz", "--k", str(K), "--work", "work", "--shard", "1/1")
    source = f"source_{size}"
    retrieve = ("retrieve", "target", source, "out", *options, "--shard-size", str(shard_size))
    seconds, core_seconds, peak = run(folder, *retrieve)
    shards = [json.loads(path.read_text()) for path in sorted(work.glob("shard-*.json"))]
    warm = shards[1:]
    merge_seconds, _, merge_peak = run(folder, "merge", "out", "--work", "work")
    shutil.rmtree(folder / "out")
    return {
        "seconds": seconds,
        "core_seconds": core_seconds,
        "ms_per_image": 1000 * sum(s["seconds"] for s in warm) / sum(s["images"] for s in warm),
        "candidates": sum(shard["candidates"] for shard in shards),
        "peak_bytes": peak,
        "merge_seconds": merge_seconds,
        "merge_peak_bytes": merge_peak,
    }


def report(found: dict[int, list[dict[str, float]]]) -> list[dict[str, float]]:
    """Print the table; return its rows."""
    rows = []
    print(
        f"{'sources':>8} {'ms/image':>9} {'ratio':>6} {'core ms/image more':>19} {'MiB':>7} "
        f"{'ratio':>6} {'merge MiB':>10}"
    )
    for size, runs in found.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        per_image = middle["ms_per_image"]
        rows.append({"sources": size, **middle})
        first = rows[0]
        more = size - first["sources"]
        core_ms = 1000 * (middle["core_seconds"] - first["core_seconds"]) / more if more else 0.0
        print(
            f"{size:8} {per_image:9.3f} {per_image / first['ms_per_image']:6.3f} {core_ms:19.3f} "
            f"{middle['peak_bytes'] / MIB:7.1f} {middle['peak_bytes'] / first['peak_bytes']:6.3f} "
            f"{middle['merge_peak_bytes'] / MIB:10.1f}"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10000, 20000, 40000, 80000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shard-size", type=int, default=2500)
    parser.add_argument("--json", type=Path, default=Path("build/benchmarks/retrieval_scale.json"))
    args = parser.parse_args()
    found: dict[int, list[dict[str, float]]] = {size: [] for size in args.sizes}
    with tempfile.TemporaryDirectory(prefix="sjft_scale_") as name:
        folder = Path(name)
        write_images(folder, args.sizes)
        run(folder, "fit-bins", "target", "bins.npz", *BANK)
        turns = [
            size for _ in range(args.rounds) for size in random.sample(args.sizes, len(args.sizes))
        ]
        for size in progress(turns, "runs", unit="run"):
            found[size].append(measure(folder, size, args.shard_size))
    rows = report(found)
    content = {"targets": TARGETS, "k": K, "cores": cores(), "rows": rows, "runs": found}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(content, indent=2) + os.linesep)
    print(f"\nwritten: {args.json}")


if __name__ == "__main__":
    main()
