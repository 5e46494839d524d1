"""Memory over a long run: a solver fed by JointDataLayer, sampled every few seconds.

Every minute a worker is killed, and every five the stream is started anew as after a resume: what
takes their place must not keep the memory of training, 10 million weights that every iteration
rewrites. Prints a table and writes build/benchmarks/soak.json: the memory that is the training
process's alone, that of its workers and of the process they are forked from together, the shared
memory of the batches made ahead, and the open files.

    python benchmarks/soak.py --minutes 30
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import photographs
from proc_figures import kib
from results import OUT, save

from sjft_tools.command import Parser, integer_at_least, print_options
from sjft_tools.pycaffe import import_caffe

NET = """
layer {{ name: "data" type: "Python" top: "data" top: "target_label" top: "source_label"
  python_param {{ module: "sjft.layers" layer: "JointDataLayer" param_str: '{param_str}' }} }}
layer {{ name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param {{ pool: AVE kernel_size: 32 stride: 32 }} }}
layer {{ name: "slice" type: "Slice" bottom: "pool" top: "target" top: "source"
  slice_param {{ axis: 0 }} }}
layer {{ name: "target_score" type: "InnerProduct" bottom: "target" top: "target_score"
  inner_product_param {{ num_output: {target_classes} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "source_score" type: "InnerProduct" bottom: "source" top: "source_score"
  inner_product_param {{ num_output: {source_classes} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "ballast" type: "InnerProduct" bottom: "target" top: "ballast"
  inner_product_param {{ num_output: 68000 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "sum" type: "Reduction" bottom: "ballast" top: "sum" loss_weight: 1e-9 }}
layer {{ name: "loss" type: "Python" top: "loss" loss_weight: 1
  bottom: "target_score" bottom: "target_label" bottom: "source_score" bottom: "source_label"
  python_param {{ module: "sjft.layers" layer: "MultiTaskLossLayer" param_str: "{{}}" }} }}
"""
SOLVER = (
    'net: "{net}" base_lr: 1e-7 momentum: 0.9 lr_policy: "fixed" max_iter: 1000000000 '
    "solver_mode: CPU\n"
)


class Sample(NamedTuple):
    """One look at the processes: seconds since start, batches done, memory in KiB."""

    seconds: float
    batches: int
    parent: int
    workers: int
    shared: int
    parent_files: int


def private(pid: int) -> int:
    """Return the KiB that process `pid` has written and shares with no other."""
    return kib(pid, "smaps_rollup")["Private_Dirty"]


def look(start: float, batches: int, workers: list[int]) -> Sample:
    """Sample this process and the `workers`."""
    return Sample(
        seconds=round(time.monotonic() - start, 1),
        batches=batches,
        parent=private(os.getpid()),
        workers=sum(map(private, workers)),
        shared=kib(os.getpid())["RssShmem"],
        parent_files=len(os.listdir("/proc/self/fd")),
    )


def growth(samples: list[Sample], field: str) -> float:
    """KiB per hour, by least squares over the second half of the run: the first warms up."""
    half = samples[len(samples) // 2 :]
    slope = np.polyfit([s.seconds for s in half], [getattr(s, field) for s in half], 1)[0]
    return float(slope) * 3600


def run(minutes: float, workers: int, every_s: float) -> list[Sample]:
    """Train for `minutes` and return the samples."""
    caffe = import_caffe()
    folder = photographs.build(None)
    keys: dict[str, Any] = {
        "target": photographs.lmdb_path(folder, "target"),
        "source": photographs.lmdb_path(folder, "source"),
        "neighbours": photographs.lmdb_path(folder, "neighbours"),
        "k0": 100,
        "crop": 224,
        "workers": workers,
    }
    with tempfile.TemporaryDirectory() as temporary:
        net, solver_file = Path(temporary, "net.prototxt"), Path(temporary, "solver.prototxt")
        sizes = {name: photographs.SETS[name].classes for name in ("target", "source")}
        text = NET.format(
            param_str=json.dumps(keys),
            target_classes=sizes["target"],
            source_classes=sizes["source"],
        )
        net.write_text(text, encoding="utf-8")
        solver_file.write_text(SOLVER.format(net=net), encoding="utf-8")
        solver = caffe.get_solver(str(solver_file))
    (layer,) = [one for one in solver.net.layers if hasattr(one, "start_at")]
    start, samples, kills = time.monotonic(), [], 0
    while time.monotonic() - start < 60 * minutes:
        until = time.monotonic() + every_s
        while time.monotonic() < until:
            solver.step(10)
        stream = layer._stream
        pids = [worker._pid for worker in stream._workers]
        samples.append(look(start, solver.iter, [*pids, stream._nursery.pid]))
        show(samples[-1])
        if samples[-1].seconds > 60 * (kills + 1):
            os.kill(pids[kills % len(pids)], signal.SIGKILL)
            kills += 1
            if kills % 5 == 0:
                layer.start_at(solver.iter)
            solver.step(50)  # a young worker has not yet reached its size
    layer.close()
    return samples


def show(sample: Sample) -> None:
    """Print a line of the table."""
    print(
        f"{sample.seconds:8.0f} {sample.batches:10,} {sample.parent / 1024:12.1f} "
        f"{sample.workers / 1024:12.1f} {sample.shared / 1024:10.1f} "
        f"{sample.parent_files:6}",
        flush=True,
    )


def main() -> None:
    parser = Parser(prog="soak.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to train")
    parser.add_argument("--workers", type=integer_at_least(1), default=2, help="worker processes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    args: argparse.Namespace = parser.parse_args()
    print_options(parser.prog, args)
    print(" seconds    batches   parent MiB  workers MiB shared MiB  files")
    samples = run(args.minutes, args.workers, args.every)
    fields = ("parent", "workers", "shared", "parent_files")
    slopes = {field: growth(samples, field) for field in fields}
    for field, slope in slopes.items():
        unit = "files" if field == "parent_files" else "KiB"
        print(f"growth of {field:18} {slope:10.1f} {unit} an hour")
    content = {"samples": [s._asdict() for s in samples], "growth_per_hour": slopes}
    save(OUT / "soak.json", content)


if __name__ == "__main__":
    main()
