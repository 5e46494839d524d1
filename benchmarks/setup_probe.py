"""One set-up of JointDataLayer in this process, measured: run by data_layer_setup.py.

    python benchmarks/setup_probe.py PARAM_STR

Prints two lines of JSON: one when the layer is set up, one when it has given some batches.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from proc_figures import descendants, kib

from sjft_tools.nets import layers as L
from sjft_tools.nets.text import net_text
from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

from sjft import batches, prefetch, sampling  # noqa: E402

BATCHES = 20  # until every worker has given some

# stage -> where the function or class lives that does it
STAGES = {
    "open LMDBs": [(batches, "ImageLmdb"), (batches, "NeighbourLmdb")],
    "read levels": [(batches, "read_levels")],
    "read neighbours": [(batches, "read_neighbours")],
    "select, renumber": [(batches, "select")],
    "sampler": [(batches, "JointSampler")],
    "start workers": [(prefetch, "PrefetchedStream")],
    "epoch order": [(sampling, "permutation")],
}


def memory(pid: int) -> dict[str, int]:
    """Return MiB by kind, from the kernel's own sums."""
    kinds = {**kib(pid), **kib(pid, "smaps_rollup")}
    return {
        "peak": kinds["VmHWM"] >> 10,
        "rss": kinds["VmRSS"] >> 10,
        "pss": kinds["Pss"] >> 10,
        "private": (kinds["Private_Clean"] + kinds["Private_Dirty"]) >> 10,
    }


def timed(function: Callable[..., Any], stage: str, seconds: dict[str, float]) -> Any:
    """Return `function`, adding the time it takes to seconds[stage]."""

    def wrapper(*args: Any, **keywords: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **keywords)
        finally:
            seconds[stage] += time.perf_counter() - begin

    return wrapper


def main() -> None:
    layer = L.python_layer(
        "data", "JointDataLayer", json.loads(sys.argv[1]), ["data", "target_label", "source_label"]
    )
    seconds = dict.fromkeys(STAGES, 0.0)
    for stage, places in STAGES.items():
        for module, name in places:
            setattr(module, name, timed(getattr(module, name), stage, seconds))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(net_text("setup", "One data layer.", [layer]))
        Path("/proc/self/clear_refs").write_text("5")  # from here on is the peak of interest
        before = memory(os.getpid())
        begin = time.perf_counter()
        net = caffe.Net(str(file), caffe.TRAIN)
        set_up = time.perf_counter() - begin
    after = memory(os.getpid())
    print(json.dumps({"seconds": set_up, "before": before, "after": after}), flush=True)
    net.forward()
    first_batch = time.perf_counter() - begin
    for _ in range(BATCHES):
        net.forward()
    workers = [memory(pid) for pid in descendants(os.getpid())]
    content = {
        "first_batch": first_batch,
        "stages": seconds,
        "parent": memory(os.getpid()),
        "workers": workers,
    }
    print(json.dumps(content), flush=True)
    net.layers[0].close()


if __name__ == "__main__":
    main()
