"""Step: images per second through the AlexNet bank on the GPU and into histograms.

The bank has drawn weights: its speed does not depend on them. Histograms are counted on the CPU's
cores, batch by batch as soon as a batch has been filtered, as 'sjft retrieve' does it; reading and
decoding images is not part of this.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
from step import Findings, Settings, run
from tables import table

from sjft_tools.banks import make_bank
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.bins import Bins, BinsInfo
from sjft_tools.describe import Describer
from sjft_tools.histogram import Histogrammer
from sjft_tools.overlap import cores, in_order

_SCALES = {"conv1_w": 0.02, "conv1_b": 1, "conv2_w": 0.03, "conv2_b": 1}
_BINS = 100


def main(settings: Settings, findings: Findings) -> None:
    backend = "torch" if settings["gpu"] is None else "cuda"
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        drawn = {name: _SCALES[name] * rng.normal(size=shape) for name, shape in SHAPES.items()}
        np.savez(weights, **{name: array.astype(np.float32) for name, array in drawn.items()})
        bank, by_cpu = (make_bank("alexnet", weights, backend=name) for name in (backend, "torch"))
    images = rng.integers(0, 256, (settings["distinct"], bank.crop, bank.crop, 3), np.uint8)
    responses = by_cpu.responses(images[: settings["checked"]])
    on_gpu = bank.responses(images[: settings["checked"]])
    errors = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(responses, on_gpu)]
    greatest = float(np.max(errors))  # of errors that are no numbers, one such
    describer = Describer(bank, Histogrammer(bins_of(responses)))
    batch = bank.batch
    some = [images[i % len(images)] for i in range(batch * 2)]
    batches = [np.array(some[:batch]), np.array(some[batch:])]
    filtered = [bank.responses(part) for part in batches]
    histogrammer = Histogrammer(bins_of(responses))
    number = max(2, settings["images"] // batch)
    ways: dict[str, Callable[[int], Any]] = {
        f"bank by {backend}, responses on the CPU": lambda i: bank.responses(batches[i % 2]),
        "histograms of responses": lambda i: histogrammer.counts(filtered[i % 2]),
        "both": lambda i: describer.describe(batches[i % 2]),
    }
    rates = {}
    for name, way in ways.items():
        way(0)
        begin = time.perf_counter()
        for _ in in_order(way, range(number), cores(), 2):
            pass
        rates[name] = number * batch / (time.perf_counter() - begin)
    rows: list[list[Any]] = [[name, rate] for name, rate in rates.items()]
    rows.append(["responses, GPU against CPU, greatest error (goal: 1e-4)", greatest])
    title = f"Describing on {cores()} cores and a GPU"
    findings.add(table(title, ["", "images/s"], rows), rates=rates, errors=errors)
    if not greatest <= 1e-4:
        raise SystemExit(f"the bank's responses are off by {greatest}")


def bins_of(responses: list[np.ndarray]) -> Bins:
    """Return bins that hold equal shares of these responses."""
    edges, low, high = [], [], []
    for layer in responses:
        for channel in range(layer.shape[1]):
            values = layer[:, channel].ravel()
            edges.append(np.quantile(values, np.arange(1, _BINS + 1) / _BINS))
            low.append(values.min())
            high.append(values.max())
    info = BinsInfo("alexnet", 256, "", "")
    return Bins(info, np.array(edges), np.array(low, np.float32), np.array(high, np.float32))


if __name__ == "__main__":
    run(main)
