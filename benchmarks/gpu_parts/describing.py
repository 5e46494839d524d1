"""Step: images per second through the AlexNet bank and into histograms, stage by stage.

The bank has drawn weights: its speed does not depend on them. Every stage runs batch by batch on
all cores' threads, as 'sjft retrieve' runs it; the slowest bounds the whole. Responses are counted
on the GPU, where the bank leaves them; how long it takes to copy them and to count them on the
CPU's cores stands beside it. Images are decoded from memory: reading files is not part of this.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable, cast

import cv2
import numpy as np
from step import Findings, Settings, run
from tables import table

from sjft.images import decode_datum
from sjft_tools.banks import make_bank
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.banks.bank import Bank, TorchBank, warp
from sjft_tools.banks.torch_backend import import_torch
from sjft_tools.bins import Bins, BinsInfo
from sjft_tools.describe import Describer
from sjft_tools.histogram import Histogrammer
from sjft_tools.histogram_torch import TorchHistogrammer
from sjft_tools.image_lmdb_writer import encoded_datum
from sjft_tools.overlap import cores, in_order

_SCALES = {"conv1_w": 0.02, "conv1_b": 1, "conv2_w": 0.03, "conv2_b": 1}
_BINS = 100
_SECONDS = 2.0  # of a measurement


def main(settings: Settings, findings: Findings) -> None:
    backend = "torch" if settings["gpu"] is None else "cuda"
    rng = np.random.default_rng(1)
    bank, by_cpu = (bank_of(np.random.default_rng(0), name) for name in (backend, "torch"))
    jpegs = [jpeg_datum(rng, bank.resize) for _ in range(settings["distinct"])]
    images = decoded(jpegs, bank)
    responses = by_cpu.responses(images[: settings["checked"]])
    on_gpu = bank.responses(images[: settings["checked"]])
    errors = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(responses, on_gpu)]
    greatest = float(np.max(errors))  # of errors that are no numbers, one such
    histogrammer = Histogrammer(bins_of(responses))
    there = TorchHistogrammer(histogrammer.inner, backend)
    describer = Describer(bank, histogrammer)
    batch = bank.batch
    some = [i % len(images) for i in range(batch * 2)]
    halves = some[:batch], some[batch:]
    encoded = [[jpegs[i] for i in half] for half in halves]
    batches = [images[half] for half in halves]
    filtered = [bank.responses(part) for part in batches]
    left_there = [cast(TorchBank, bank).device_responses(part) for part in batches]
    differing = int((describer.describe(batches[0]) != histogrammer.counts(filtered[0])).sum())
    ways: dict[str, Callable[[int], Any]] = {
        "JPEGs decoded and warped": lambda i: decoded(encoded[i % 2], bank),
        f"bank by {backend}": lambda i: cast(TorchBank, bank).device_responses(batches[i % 2]),
        f"histograms by {backend}": lambda i: there.counts(left_there[i % 2]),
        "bank and histograms": lambda i: describer.describe(batches[i % 2]),
        "all of this": lambda i: describer.describe(decoded(encoded[i % 2], bank)),
        "bank, responses copied to the CPU": lambda i: bank.responses(batches[i % 2]),
        "histograms by the CPU's cores": lambda i: histogrammer.counts(filtered[i % 2]),
    }
    number = max(2, settings["images"] // batch)
    rates = {}
    for name, way in ways.items():
        speed = number / seconds(way, number, backend)
        number_now = max(2, min(4 * number, int(speed * _SECONDS)))
        rates[name] = number_now * batch / seconds(way, number_now, backend)
    rows: list[list[Any]] = [[name, rate] for name, rate in rates.items()]
    rows.append(["responses, GPU against CPU, greatest error (goal: 1e-4)", greatest])
    rows.append(["counts of a batch that differ from those by the CPU's cores", differing])
    title = f"Describing on {cores()} cores and a GPU, {batch} images at a time"
    values = {"rates": rates, "errors": errors, "differing_counts": differing}
    findings.add(table(title, ["", "images/s"], rows), **values)
    if not greatest <= 1e-4:
        raise SystemExit(f"the bank's responses are off by {greatest}")
    if differing:
        raise SystemExit(f"{differing} counts differ from those by the CPU's cores")


def seconds(way: Callable[[int], Any], number: int, backend: str) -> float:
    """Return how long `number` batches take, their work on the GPU included."""
    begin = time.perf_counter()
    for _ in in_order(way, range(number), cores(), 2):
        pass
    if backend == "cuda":
        import_torch().cuda.synchronize()
    return time.perf_counter() - begin


def bank_of(rng: np.random.Generator, backend: str) -> Bank:
    """Return the AlexNet bank with drawn weights."""
    drawn = {name: _SCALES[name] * rng.normal(size=shape) for name, shape in SHAPES.items()}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        np.savez(weights, **{name: array.astype(np.float32) for name, array in drawn.items()})
        return make_bank("alexnet", weights, backend=backend)


def jpeg_datum(rng: np.random.Generator, side: int) -> bytes:
    """Return a drawn image as a record of an LMDB, about as large as a photograph's."""
    coarse, fine = (rng.integers(0, 256, (n, n, 3), np.uint8) for n in (side // 16, side // 2))
    coarse, fine = (cv2.resize(part, (side, side)) for part in (coarse, fine))
    mixed = cv2.addWeighted(coarse, 0.8, fine, 0.2, 0)
    return encoded_datum(cv2.imencode(".jpg", mixed)[1].tobytes(), 0)


def decoded(datums: list[bytes], bank: Bank) -> np.ndarray:
    """Return N x crop x crop x 3 uint8 BGR."""
    return np.array([warp(decode_datum(datum, "")[0], bank) for datum in datums])


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
