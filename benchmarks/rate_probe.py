"""Batches taken as fast as one way of making them goes, in this process: run by data_layer.py.

    python benchmarks/rate_probe.py WAY

WAY is JSON: "kind", "net" or "loop"; the arguments of net_batches or loop_batches below; and
"seconds" to measure. Prints JSON: batches a second, how many cores were busy with them, and how
many were busy on the machine.
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
import lmdb
import numpy as np
from processes import descendants

from sjft_tools.nets.text import Word, net_text
from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

WARM_UP_S = 1.0
# more than any way makes ahead: none of those counts that were ready before the clock started
WARM_UP_BATCHES = 40


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
    transaction = lmdb.open(path, readonly=True, lock=False).begin()

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
    own = 0
    for pid in [os.getpid(), *descendants(os.getpid())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own += int(fields[11]) + int(fields[12])
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return np.array([own, int(user) + int(nice) + int(system)]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    way = json.loads(sys.argv[1])
    seconds = way.pop("seconds")
    kinds: dict[str, Callable[..., Any]] = {"net": net_batches, "loop": loop_batches}
    take = kinds[way.pop("kind")](**way)
    begin, batches = time.perf_counter(), 0
    while time.perf_counter() - begin < WARM_UP_S or batches < WARM_UP_BATCHES:
        take()
        batches += 1
    begin, busy, batches = time.perf_counter(), processor_seconds(), 0
    while time.perf_counter() - begin < seconds:
        take()
        batches += 1
    elapsed = time.perf_counter() - begin
    own, everyone = ((processor_seconds() - busy) / elapsed).tolist()
    figures = {"batches": batches / elapsed, "cores": own, "all cores": everyone}
    print(json.dumps(figures), flush=True)
    os._exit(0)  # workers end with their parent


if __name__ == "__main__":
    main()
