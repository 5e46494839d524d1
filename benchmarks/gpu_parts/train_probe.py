"""A process that trains the joint net as it is told, and says how fast: run by training.py.

    python train_probe.py '{"net": ..., "batch": ..., "data": "dummy" or JointDataLayer's keys}'

Prints JSON: "seconds" of each iteration, "waited" for data in each, "begin_seconds" until the net
is there, "free_mib", the GPU's memory at the start, "mib", what training took of it,
"reckoned_mib", the same by memory.py, which stands for it on the CPU.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nets
from memory import needed_bytes

from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

from stream_times import watch_stream  # noqa: E402

_WARM_UP = 4
_FEWEST = 3


def main() -> None:
    asked = json.loads(sys.argv[1])
    joint, batch, gpu = nets.NETS[asked["net"]], asked["batch"], asked["gpu"]
    waited: list[float] = []
    watch_stream(waited, took=[])
    nets.use(caffe, gpu)
    free = free_mib(gpu)
    start = time.perf_counter()
    dummy = asked["data"] == "dummy"
    data = nets.dummy_data(joint, batch) if dummy else nets.joint_data(asked["data"])
    with tempfile.TemporaryDirectory() as folder:
        net, file = Path(folder) / "net.prototxt", Path(folder) / "solver.prototxt"
        net.write_text(nets.text(joint, data, asked["engine"]))
        file.write_text(nets.solver_text(str(net), 1 << 30, gpu, base_lr=0.0))
        solver = caffe.get_solver(str(file))
    if dummy:
        nets.fill_inputs(solver.net, joint, batch)
    begin_seconds = time.perf_counter() - start
    solver.step(_WARM_UP)
    waited.clear()
    seconds: list[float] = []
    until = time.monotonic() + asked["seconds"]
    while time.monotonic() < until or len(seconds) < _FEWEST:
        begin = time.perf_counter()
        solver.step(1)  # what the GPU still has to do when this ends, the next one waits for
        seconds.append(time.perf_counter() - begin)
    reckoned = sum(needed_bytes(solver.net).values()) / 2**20
    found: dict[str, Any] = {"seconds": seconds, "waited": waited, "reckoned_mib": reckoned}
    found.update(begin_seconds=begin_seconds, free_mib=free)
    found["mib"] = reckoned if gpu is None else free - free_mib(gpu)
    print(json.dumps(found), flush=True)
    if not dummy:
        solver.net.layers[0].close()


def free_mib(gpu: int | None) -> float:
    """Return the free memory of the GPU whose context this thread has; on the CPU no limit."""
    if gpu is None:
        return math.inf
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    status = ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    if status:
        raise SystemExit(f"cuMemGetInfo gave status {status}")
    return free.value / 2**20


if __name__ == "__main__":
    main()
