"""What it takes to set up JointDataLayer on data bases with ImageNet's metadata.

    python benchmarks/data_layer_setup.py [--rounds 3] [--workers 2] [--json FILE]

Each line is the median of fresh processes that load pycaffe and then build a net of one
JointDataLayer (batch 18, crop 224). Seconds count from there on. Memory of the parent: "before" the
net is built; "peak", the largest resident size (VmHWM) up to some batches later, of which nothing
is left out: not Caffe and Python, not the LMDBs' pages while mapped, not the batches made ahead;
"own", the most without the pages of files, sampled while the net is built. Of the worker that takes
most: "private", what it shares with no other process; "pss", its part of what is shared as well.
"least" is min_source_per_class; "cold" begins with none of the data bases in the system's cache.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import imagenet_sized
from proc_figures import kib
from results import OUT, save

from sjft_tools.command import progress

FOLDER = OUT / "imagenet_sized"
PROBE = Path(__file__).with_name("setup_probe.py")
LEVELS_K0 = 500  # at level 10 all 5,000 neighbours are in use
MIN_SOURCE_PER_CLASS = (0, 50)
SAMPLE_S = 0.005
SECONDS, PEAK_MIB = 10, 1024  # to reach


class Case(NamedTuple):
    """One set-up: all neighbours of each target, or by levels from 1 to 10."""

    targets: int
    levels: bool
    min_source_per_class: int
    cold: bool = False

    def param_str(self, workers: int) -> str:
        """Return the parameters of JointDataLayer."""
        params: dict[str, Any] = {
            "target": str(imagenet_sized.target_path(FOLDER, self.targets)),
            "source": str(imagenet_sized.source_path(FOLDER)),
            "neighbours": str(imagenet_sized.neighbours_path(FOLDER, self.targets)),
            "k0": LEVELS_K0 if self.levels else imagenet_sized.K,
            "min_source_per_class": self.min_source_per_class,
            "resize": 256,
            "workers": workers,
        }
        if self.levels:
            params["levels"] = str(imagenet_sized.levels_path(FOLDER, self.targets))
        return json.dumps(params)


def cases() -> list[Case]:
    """Return all cases, those of one kind by their number of targets."""
    warm = [
        Case(targets, levels, minimum)
        for levels in (False, True)
        for minimum in MIN_SOURCE_PER_CLASS
        for targets in imagenet_sized.TARGETS
    ]
    return [*warm, Case(max(imagenet_sized.TARGETS), False, max(MIN_SOURCE_PER_CLASS), cold=True)]


def evict() -> None:
    """Take the data bases out of the system's cache."""
    for file in FOLDER.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def own_memory(pid: int) -> int:
    """Return the MiB of process `pid` that no file backs."""
    kinds = kib(pid)
    return (kinds["RssAnon"] + kinds["RssShmem"]) >> 10


def measure(case: Case, workers: int) -> dict[str, float]:
    """Run one set-up in a fresh process; return its figures: seconds by stage, MiB."""
    if case.cold:
        evict()
    command = [sys.executable, str(PROBE), case.param_str(workers)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as probe:
        assert probe.stdout is not None
        own = 0
        while not select.select([probe.stdout], [], [], SAMPLE_S)[0]:
            own = max(own, own_memory(probe.pid))
        output, errors = probe.communicate()
    if probe.returncode:
        raise SystemExit(f"a set-up failed:\n{errors}")
    set_up, later = (json.loads(line) for line in output.splitlines())
    return {
        **later["stages"],
        "set-up": set_up["seconds"],
        "first batch": later["first_batch"],
        "before": set_up["before"]["rss"],
        "peak": later["parent"]["peak"],
        "own": own,
        "after": set_up["after"]["rss"],
        "private": max(worker["private"] for worker in later["workers"]),
        "pss": max(worker["pss"] for worker in later["workers"]),
    }


def show(results: dict[Case, dict[str, float]]) -> None:
    """Print a line per case, and whether the limits hold."""
    print(f"{'':28}{'seconds':^35}{'parent, MiB':^28}{'worker, MiB':>16}")
    print(
        f"{'targets':>7} {'k0':>5} {'least':>6} {'':6} "
        f"{'read':>7}{'select':>7}{'set-up':>8}{'first batch':>13}"
        f"{'before':>8}{'peak':>6}{'own':>6}{'after':>7}{'private':>9}{'pss':>6}"
    )
    for case, r in results.items():
        k0 = f"{LEVELS_K0}*l" if case.levels else f"{imagenet_sized.K}"
        print(
            f"{case.targets:7} {k0:>5} {case.min_source_per_class:6} {'cold' * case.cold:6} "
            f"{r['read neighbours']:7.2f}{r['select, renumber']:7.2f}{r['set-up']:8.2f}"
            f"{r['first batch']:13.2f}{r['before']:8.0f}{r['peak']:6.0f}{r['own']:6.0f}"
            f"{r['after']:7.0f}{r['private']:9.0f}{r['pss']:6.0f}"
        )
    for name, unit, limit in (("set-up", "s", SECONDS), ("peak", "MiB", PEAK_MIB)):
        most = max(result[name] for result in results.values())
        verdict = "holds" if most <= limit else "DOES NOT HOLD"
        print(f"{name} at most {limit} {unit}: {verdict}, {most:.1f} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=OUT / "data_layer_setup.json")
    args = parser.parse_args()
    if min(args.rounds, args.workers) < 1:
        parser.error("--rounds and --workers must be at least 1")
    imagenet_sized.build(FOLDER)
    runs: dict[Case, list[dict[str, float]]] = {case: [] for case in cases()}
    for _ in progress(range(args.rounds), "measuring", unit="round"):
        for case, found in runs.items():
            found.append(measure(case, args.workers))
    results = {
        case: {name: median(run[name] for run in found) for name in found[0]}
        for case, found in runs.items()
    }
    show(results)
    content = {
        "rounds": args.rounds,
        "workers": args.workers,
        "sources": imagenet_sized.SOURCES,
        "k": imagenet_sized.K,
        "cases": [{**case._asdict(), **result} for case, result in results.items()],
    }
    save(args.json, content)


if __name__ == "__main__":
    main()
