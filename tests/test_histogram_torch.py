"""Counting where torch leaves responses: the counts of Histogrammer, on the CPU and on a GPU."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from conftest import draw_image
from drawn_banks import bank_of, require
from sjft_tools.banks.bank import TorchBank, warp
from sjft_tools.bins import Bins, BinsInfo
from sjft_tools.describe import Describer
from sjft_tools.histogram import Histogrammer
from sjft_tools.histogram_torch import TorchHistogrammer

torch = pytest.importorskip("torch")


@pytest.fixture(params=["torch", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> str:
    """Each device that is here."""
    require(request.param)
    return request.param


def bins_of(edges: np.ndarray, minimum: np.ndarray) -> Bins:
    maximum = edges[:, -1].astype(np.float32)
    return Bins(BinsInfo("gabor", 64, "", ""), edges, minimum.astype(np.float32), maximum)


def fitted(responses: list[np.ndarray], number: int) -> Bins:
    """Bins of equal shares; of equal edges where a channel is constant."""
    channels = [layer[:, c].ravel() for layer in responses for c in range(layer.shape[1])]
    shares = np.arange(1, number + 1) / number
    edges = np.array([np.quantile(values.astype(np.float64), shares) for values in channels])
    return bins_of(edges, np.array([values.min() for values in channels]))


def there(layers: list[np.ndarray], backend: str) -> list[torch.Tensor]:
    device = "cuda" if backend == "cuda" else "cpu"
    return [torch.from_numpy(layer).to(device) for layer in layers]


def drawn(rng: np.random.Generator, number: int, channels: int, pixels: int) -> np.ndarray:
    """Draw responses: about half of them few values, which then lie on edges."""
    values = rng.normal(scale=2, size=(number, channels, pixels)).astype(np.float32)
    return np.where(rng.random(values.shape) < 0.5, np.round(values), values)


@pytest.mark.parametrize("bins", [2, 7, 100, 300])
def test_counts_are_those_of_the_histogrammer(bins: int, backend: str) -> None:
    rng = np.random.default_rng(bins)
    responses = [drawn(rng, 5, 6, 211), drawn(rng, 5, 9, 64)]
    responses[0][:, 2] = 1.5  # constant where the bins are fitted
    by_cpu = Histogrammer(fitted(responses, bins))
    by_torch = TorchHistogrammer(by_cpu.inner, backend)
    seen = [drawn(rng, 5, 6, 211), drawn(rng, 5, 9, 64)]
    seen[0][:, 2] = rng.choice(np.float32([1.5, 1.5000001, 1.4999999, -0.0, 1e30, -1e30]), (5, 211))
    # each edge of a channel, and the numbers beside it
    inner = by_cpu.inner[1]
    down, up = (np.nextafter(inner, np.float32(way * np.inf)) for way in (-1, 1))
    at = np.concatenate([inner, down, up, np.float32([0.0, -0.0, 1e-45])])
    seen[0][:, 1] = rng.choice(at, (5, 211))
    for layers in (responses, seen):
        found = by_torch.counts(there(layers, backend))
        expected = by_cpu.counts(layers)
        assert (found == expected).all()
        assert found.dtype == expected.dtype == np.uint16
        assert found.shape == (5, 15 * bins)
        assert (found.reshape(5, 15, bins).sum(axis=2) == [211] * 6 + [64] * 9).all()


def test_layers_in_any_order_of_memory(backend: str) -> None:
    rng = np.random.default_rng(2)
    responses = [drawn(rng, 3, 8, 30)]
    by_cpu = Histogrammer(fitted(responses, 10))
    turned = [there([np.ascontiguousarray(responses[0].transpose(0, 2, 1))], backend)[0].mT]
    assert not turned[0].is_contiguous()
    by_torch = TorchHistogrammer(by_cpu.inner, backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's own copies come with one
        found = by_torch.counts(turned)
    assert (found == by_cpu.counts(responses)).all()


@pytest.mark.parametrize("pixels", [65_535, 65_536])
def test_large_maps_are_counted_in_wider_numbers(pixels: int, backend: str) -> None:
    by_cpu = Histogrammer(bins_of(np.array([[0.5, 1.0], [0.5, 1.0]]), np.zeros(2)))
    layers = [np.ones((1, 1, pixels), np.float32), np.zeros((1, 1, 3), np.float32)]
    found = TorchHistogrammer(by_cpu.inner, backend).counts(there(layers, backend))
    assert found.tolist() == [[0, pixels, 3, 0]]
    assert found.dtype == by_cpu.counts(layers).dtype


def pixels_for(bank: TorchBank, number: int) -> np.ndarray:
    return np.stack([warp(draw_image(seed, 60, 70), bank) for seed in range(number)])


@pytest.mark.parametrize("name", ["alexnet", "gabor"])
def test_a_banks_responses_are_counted_where_they_are(
    name: str, backend: str, tmp_path: Path
) -> None:
    bank = cast(TorchBank, bank_of(f"{name} {backend}", tmp_path))
    images = pixels_for(bank, bank.batch)
    responses = bank.responses(images)
    left = bank.device_responses(images)
    assert {tensor.device.type for tensor in left} == {"cuda" if backend == "cuda" else "cpu"}
    for tensor, layer in zip(left, responses):
        assert (tensor.cpu().numpy() == layer).all()
    by_cpu = Histogrammer(fitted([layer[:2] for layer in responses], 100))
    by_torch = TorchHistogrammer(by_cpu.inner, backend)
    assert (by_torch.counts(left) == by_cpu.counts(responses)).all()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["alexnet", "gabor"])
def test_a_describer_counts_on_the_gpu_of_its_bank(name: str, tmp_path: Path) -> None:
    bank = cast(TorchBank, bank_of(f"{name} cuda", tmp_path))
    images = pixels_for(bank, bank.batch + 3)
    responses = bank.responses(images)
    histogrammer = Histogrammer(fitted([layer[:2] for layer in responses], 100))
    expected = histogrammer.counts(responses)
    describer = Describer(bank, histogrammer)
    parts = [slice(None), slice(0, 1), slice(1, 6), slice(6, None)]
    with ThreadPoolExecutor(4) as pool:
        for part, found in zip(
            parts * 4, pool.map(lambda p: describer.describe(images[p]), parts * 4)
        ):
            assert found.dtype == np.uint16
            assert (found == expected[part]).all()
