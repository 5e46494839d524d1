"""Peak memory of `sjft retrieve`, and its time per image, as the source grows.

    python benchmarks/retrieval_scale.py [--sizes 10000 20000 40000 80000] [--rounds 3]

The images are JPEGs of 64 x 64 and the bank is Gabor's at that size: cheap, so that the machinery
around the bank weighs much. After a run that does not count, every round runs all sizes in a random
order, in processes of their own (some ten minutes on two idle cores).

Memory is what a process has for itself (RssAnon): pages of the LMDB, which the system takes back
when it needs them, do not count. A run's seconds are parted into its start and its stream. The
stream is the shards, as their stats have it, but for the first: libraries warm up in it. The rest
is the start: the process, its libraries, the targets, the sample for the limits, the first shard
beyond its share. "cores" is what the run's cores spent on an image of the whole run, start
included. K is the same for all sizes, so that a smaller source has more candidates per image.

Figures are medians over the rounds; a ratio is the median of the rounds' ratios to their smallest
source, which leaves out what changes from round to round.
"""

from __future__ import annotations

import argparse
import json
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
from proc_figures import kib
from results import OUT, save

from sjft_tools.command import progress
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum

TARGETS = 64
#: Of 10,000 sources about the share that 5,000 are of ImageNet.
K = 40
SIDE = 64
BANK = ("--bank", "gabor", "--bins", "20", "--resize", str(SIDE))
MIB = 1 << 20
_POLL_S = 0.01


def draw(seed: int) -> bytes:
    """Return a Datum record of a JPEG that differs for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return encoded_datum(cv2.imencode(".jpg", image)[1].tobytes(), 0, SIDE, SIDE)


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
    while process.poll() is None:
        # one that ends just now has no memory left
        peak = max(peak, kib(process.pid).get("RssAnon", 0) << 10)
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
    stream_ms = 1000 * sum(s["seconds"] for s in warm) / sum(s["images"] for s in warm)
    return {
        "seconds": seconds,
        "start_seconds": seconds - stream_ms * size / 1000,
        "stream_ms_per_image": stream_ms,
        "ms_per_image": 1000 * seconds / size,
        "core_ms_per_image": 1000 * core_seconds / size,
        "candidates_per_image": sum(shard["candidates"] for shard in shards) / size,
        "peak_bytes": peak,
        "merge_seconds": merge_seconds,
        "merge_peak_bytes": merge_peak,
    }


#: The table: heading, key, divisor, format; and whether the ratio to the smallest source follows.
COLUMNS = (
    ("seconds", "seconds", 1, "9.1f", False),
    ("start s", "start_seconds", 1, "8.1f", False),
    ("stream ms/image", "stream_ms_per_image", 1, "16.3f", True),
    ("all ms/image", "ms_per_image", 1, "13.3f", True),
    ("cores ms/image", "core_ms_per_image", 1, "15.3f", True),
    ("candidates/image", "candidates_per_image", 1, "17.2f", False),
    ("MiB", "peak_bytes", MIB, "8.1f", True),
    ("merge MiB", "merge_peak_bytes", MIB, "10.1f", False),
)


def report(found: dict[int, list[dict[str, float]]]) -> list[dict[str, float]]:
    """Print the table; return its rows."""
    rows = []
    heads = [
        head.rjust(int(form.split(".")[0])) + ("  ratio" if ratio else "")
        for head, _, _, form, ratio in COLUMNS
    ]
    print(f"{'sources':>8}" + "".join(heads))
    first = next(iter(found.values()))
    for size, runs in found.items():
        row: dict[str, float] = {"sources": size}
        line = f"{size:8}"
        for _, key, divisor, form, ratio in COLUMNS:
            row[key] = statistics.median(run[key] for run in runs)
            line += f"{row[key] / divisor:{form}}"
            if ratio:
                ratios = [run[key] / small[key] for run, small in zip(runs, first)]
                row[f"{key}_ratio"] = statistics.median(ratios)
                line += f"{row[f'{key}_ratio']:7.3f}"
        rows.append(row)
        print(line)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10000, 20000, 40000, 80000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shard-size", type=int, default=2500)
    parser.add_argument("--json", type=Path, default=OUT / "retrieval_scale.json")
    args = parser.parse_args()
    args.sizes.sort()
    found: dict[int, list[dict[str, float]]] = {size: [] for size in args.sizes}
    with tempfile.TemporaryDirectory(prefix="sjft_scale_") as name:
        folder = Path(name)
        write_images(folder, args.sizes)
        run(folder, "fit-bins", "target", "bins.npz", *BANK)
        measure(folder, min(args.sizes), args.shard_size)
        turns = [
            size for _ in range(args.rounds) for size in random.sample(args.sizes, len(args.sizes))
        ]
        for size in progress(turns, "runs", unit="run"):
            found[size].append(measure(folder, size, args.shard_size))
    rows = report(found)
    save(args.json, {"targets": TARGETS, "k": K, "rows": rows, "runs": found})
    print(f"\nwritten: {args.json}")


if __name__ == "__main__":
    main()
