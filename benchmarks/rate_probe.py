"""A process in which ways of making batches run, one at a time and as told: see data_layer.py.

    python benchmarks/rate_probe.py

Each line of standard input is JSON: "name" of the way; "kind", "net" or "loop", and "arguments",
those of net_batches or loop_batches below; "ahead", the most batches that the way makes ahead;
"seconds" to measure. A way is set up when it is named first, and idle while others run. Each is
answered by a line of JSON: batches a second, how many cores were busy with them, and how many on
the machine.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
from proc_figures import core_seconds, descendants

from sjft.lmdb_env import open_env
from sjft_tools.nets.text import Word, net_text
from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

IDLE_S = 0.05


def net_batches(layer: dict[str, Any]) -> Callable[[], object]:
    """Return a function that takes a batch from `layer` (see sjft_tools.nets), alone in a net."""
    if "backend" in layer.get("data_param", {}):
        layer["data_param"]["backend"] = Word(layer["data_param"]["backend"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(net_text("rate", "One data layer.", [layer]))
        return caffe.Net(str(file), caffe.TRAIN).forward


def loop_batches(
    path: str, batch_size: int, crop: int, mean: list[float], resize_shorter: int | None
) -> Callable[[], object]:
    """Return a function that makes a batch as one writes it down in Python."""
    rng = np.random.default_rng(1)
    data = np.empty((batch_size, 3, crop, crop), np.float32)
    labels = np.empty(batch_size, np.float32)
    means = np.array(mean, np.float32)[:, None, None]
    # by sjft's table of open LMDBs: py-lmdb does not open one twice in a process
    transaction = open_env(path, "source").begin()

    def values() -> Iterator[bytes]:
        while True:
            yield from transaction.cursor().iternext(keys=False)

    stream = values()
    datum = caffe.proto.caffe_pb2.Datum()

    def make() -> None:
        for i in range(batch_size):
            datum.ParseFromString(next(stream))
            image: Any = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_COLOR)
            if resize_shorter is not None:
                scale = resize_shorter / min(image.shape[:2])
                size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
                image = cv2.resize(image, size)
            top = rng.integers(image.shape[0] - crop + 1)
            left = rng.integers(image.shape[1] - crop + 1)
            image = image[top : top + crop, left : left + crop]
            if rng.random() < 0.5:
                image = image[:, ::-1]
            data[i] = image.transpose(2, 0, 1)
            data[i] -= means
            labels[i] = datum.label

    return make


def processor_seconds() -> np.ndarray:
    """Return the cores' seconds spent so far by this process and its workers, and by everyone."""
    own = core_seconds([os.getpid(), *descendants(os.getpid())])
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    ticks = int(user) + int(nice) + int(system)
    return np.array([own, ticks / os.sysconf("SC_CLK_TCK")])


def wait_until_idle() -> None:
    """Wait until all batches are made that are to be ready for the next turn."""
    busy = 1.0
    while busy > IDLE_S / 10:
        before = processor_seconds()[0]
        time.sleep(IDLE_S)
        busy = processor_seconds()[0] - before


def measure(take: Callable[[], object], ahead: int, seconds: float) -> dict[str, float]:
    """Take batches for some seconds, one at least, once those are gone that were ready before."""
    for _ in range(ahead + 2):
        take()
    begin, busy, batches = time.perf_counter(), processor_seconds(), 0
    while not batches or time.perf_counter() - begin < seconds:
        take()
        batches += 1
    elapsed = time.perf_counter() - begin
    own, everyone = ((processor_seconds() - busy) / elapsed).tolist()
    return {"batches": batches / elapsed, "cores": own, "all cores": everyone}


def main() -> None:
    kinds: dict[str, Callable[..., Any]] = {"net": net_batches, "loop": loop_batches}
    ways: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        told = json.loads(line)
        if told["name"] not in ways:
            ways[told["name"]] = kinds[told["kind"]](**told["arguments"])
            wait_until_idle()
        figures = measure(ways[told["name"]], told["ahead"], told["seconds"])
        print(json.dumps(figures), flush=True)
        wait_until_idle()
    os._exit(0)  # workers end with their parent


if __name__ == "__main__":
    main()
