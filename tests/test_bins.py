"""The adaptive bins and the histograms over them, against slow literal readings of the method."""

from __future__ import annotations

import math
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sjft.errors import InputError
from sjft_tools.bin_fitting import GRID, ChannelRange, GridCounts, all_upper_edges, upper_edges
from sjft_tools.bins import Bins, BinsInfo, load_bins
from sjft_tools.histogram import Histogrammer, compiled_kernels


def literal_edges(responses: np.ndarray, bins: int) -> list[Fraction]:
    """Section 2, step 2, word by word, in rational arithmetic, from the responses themselves."""
    low, high = Fraction(float(responses.min())), Fraction(float(responses.max()))
    counts = [0] * GRID
    for value in responses.tolist():
        cell = math.floor((Fraction(value) - low) / (high - low) * GRID)
        counts[min(cell, GRID - 1)] += 1
    edges: list[Fraction] = []
    share, closed = Fraction(0), low
    for cell, count in enumerate(counts):
        share += Fraction(count, len(responses) + 1)
        if share >= Fraction(1, bins):
            end = low + (high - low) * (cell + 1) / GRID
            pieces = math.floor(share * bins)
            edges += [closed + (end - closed) * (i + 1) / pieces for i in range(pieces)]
            share, closed = Fraction(0), end
    missing = bins - len(edges)
    edges += [closed + (high - closed) * (i + 1) / missing for i in range(missing)]
    return edges


def literal_bin(value: float, edges: list[float], minimum: float, maximum: float) -> int:
    """Section 2, step 3, word by word."""
    if value <= minimum:
        return 0
    if value >= maximum:
        return len(edges) - 1
    return next(b for b, edge in enumerate(edges) if edge > value)


DRAWS = {
    "normal": lambda rng: rng.normal(3, 2, 5000),
    "heavy tails": lambda rng: rng.standard_cauchy(5000),
    "one value mostly": lambda rng: np.where(rng.random(5000) < 0.8, 1.0, rng.normal(0, 1, 5000)),
    "few values": lambda rng: rng.integers(0, 4, 5000),
    "two values": lambda rng: rng.integers(0, 2, 300) * 7.5 - 3,
    "mostly the maximum": lambda rng: np.where(rng.random(999) < 0.9, 5.0, rng.random(999)),
    "tiny numbers": lambda rng: rng.normal(0, 1e-38, 2000),
    "fewer than bins": lambda rng: rng.random(7),
}


def draw(kind: str) -> np.ndarray:
    return DRAWS[kind](np.random.default_rng(5)).astype(np.float32)


def fitted_edges(responses: np.ndarray, bins: int) -> np.ndarray:
    layers = [responses.reshape(1, 1, -1)]
    span = ChannelRange(1)
    span.add(layers)
    grid = GridCounts(span.minimum, span.maximum)
    grid.add(layers)
    return all_upper_edges(grid, bins)[0]


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs with the compiled counting, and as where there is no numba."""
    if request.param == "compiled":
        pytest.importorskip("numba")
        assert compiled_kernels() is not None
    else:
        monkeypatch.setitem(sys.modules, "sjft_tools.histogram_kernels", None)
        assert compiled_kernels() is None
    return request.param


def make_bins(edges: np.ndarray, responses: np.ndarray) -> Bins:
    low, high = responses.min(keepdims=True), responses.max(keepdims=True)
    return Bins(BinsInfo("gabor", 64, "", "sha256:0"), np.atleast_2d(edges), low, high)


@pytest.mark.parametrize("bins", [2, 32, 49, 100])
@pytest.mark.parametrize("kind", DRAWS)
def test_edges_equal_the_literal_reading(kind: str, bins: int) -> None:
    responses = draw(kind)
    found = fitted_edges(responses, bins)
    expected = literal_edges(responses, bins)
    assert found.shape == (bins,)
    span = float(responses.max()) - float(responses.min())
    assert np.allclose(found, [float(edge) for edge in expected], rtol=1e-12, atol=1e-12 * span)
    assert found[-1] == responses.max()
    assert (np.diff(found) >= 0).all()


def test_bins_share_the_pixels_about_evenly() -> None:
    responses = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    edges = fitted_edges(responses, 20)
    shares = np.diff(np.searchsorted(np.sort(responses), edges[:-1]), prepend=0) / len(responses)
    # A bin closes only at the end of an interval, so it holds a little more than 1/20.
    assert (shares >= 1 / 20 - 1e-4).all()
    assert (shares < 1 / 20 + 0.005).all()


def test_shares_are_compared_exactly() -> None:
    # (1 / 49) * 49 is below 1 in float64; 48 intervals of exactly one share each close a bin each.
    counts = np.zeros(GRID, np.int64)
    counts[:48] = 10
    counts[48] = 9
    edges = upper_edges(counts, 0.0, 2000.0, 49)
    assert edges.tolist() == [*range(1, 49), 2000.0]


@pytest.mark.parametrize("kind", DRAWS)
def test_histogram_equals_the_literal_reading(kind: str) -> None:
    responses = draw(kind)
    for bins in (2, 100):
        edges = fitted_edges(responses, bins)
        stored = make_bins(edges, responses)
        at_edges = np.float32(edges)
        probes = np.concatenate(
            [
                responses[:500],
                at_edges,
                np.nextafter(at_edges, np.float32(-np.inf)),
                np.nextafter(at_edges, np.float32(np.inf)),
                np.float32([-1e30, 1e30, 0, responses.min(), responses.max()]),
            ]
        )
        low, high = float(responses.min()), float(responses.max())
        counter = Histogrammer(stored)
        for value in probes:
            found = counter.counts([value.reshape(1, 1, 1)])
            assert found[0].argmax() == literal_bin(float(value), edges.tolist(), low, high)
        together = counter.counts([probes.reshape(1, 1, -1)])
        expected = [literal_bin(float(v), edges.tolist(), low, high) for v in probes]
        assert together[0].tolist() == np.bincount(expected, minlength=bins).tolist()


def test_constant_channel() -> None:
    responses = np.full(50, 4.25, np.float32)
    edges = fitted_edges(responses, 10)
    assert (edges == 4.25).all()
    counter = Histogrammer(make_bins(edges, responses))
    values = np.float32([4.25, 4.25, -1, 4.2500005, 9]).reshape(1, 1, -1)
    assert counter.counts([values]).tolist() == [[3, 0, 0, 0, 0, 0, 0, 0, 0, 2]]


def test_histogram_of_several_images_and_layers() -> None:
    rng = np.random.default_rng(2)
    layers = [
        rng.normal(size=(3, 2, 40)).astype(np.float32),
        rng.normal(5, 3, size=(3, 4, 9)).astype(np.float32),
    ]
    span = ChannelRange(6)
    span.add(layers)
    grid = GridCounts(span.minimum, span.maximum)
    grid.add(layers)
    edges = all_upper_edges(grid, 8)
    info = BinsInfo("gabor", 64, "", "")
    found = Histogrammer(Bins(info, edges, span.minimum, span.maximum)).counts(layers)
    assert found.shape == (3, 48)
    assert found.dtype == np.uint16
    channels = [*layers[0].transpose(1, 0, 2), *layers[1].transpose(1, 0, 2)]
    for c, values in enumerate(channels):
        for n in range(3):
            expected = [
                literal_bin(v, edges[c].tolist(), span.minimum[c], span.maximum[c])
                for v in values[n].tolist()
            ]
            expected_counts = np.bincount(expected, minlength=8)
            assert found[n, 8 * c : 8 * c + 8].tolist() == expected_counts.tolist()


def test_large_maps_are_counted_in_wider_numbers() -> None:
    responses = np.linspace(0, 1, 70_000, dtype=np.float32)
    counter = Histogrammer(make_bins(np.array([0.99, 1.0]), responses))
    assert counter.counts([responses.reshape(1, 1, -1)]).tolist() == [[69300, 700]]


def test_fitting_does_not_depend_on_the_batches() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(7, 5, 30)).astype(np.float32)
    results = []
    for parts in ([values], np.split(values, [1, 4])):
        span = ChannelRange(5)
        for part in parts:
            span.add([part])
        grid = GridCounts(span.minimum, span.maximum)
        for part in parts:
            grid.add([part])
        results.append(all_upper_edges(grid, 10))
    assert (results[0] == results[1]).all()


def test_responses_that_are_not_finite_are_refused() -> None:
    for value in (np.nan, np.inf, -np.inf):
        values = np.ones((2, 3, 4), np.float32)
        values[1, 2, 3] = value
        span = ChannelRange(3)
        span.add([values])
        span.add([np.ones((1, 3, 4), np.float32)])
        with pytest.raises(InputError, match="are NaN or infinite in 1 of its 3 channels"):
            span.check_finite()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_bins_and_responses_are_counted_as_read(data: st.DataObject) -> None:
    numbers = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, 1.0000001, -1.0])
    fitted = np.float32(data.draw(st.lists(numbers, min_size=1, max_size=60)))
    seen = np.float32(data.draw(st.lists(numbers, min_size=1, max_size=60)))
    edges = fitted_edges(fitted, data.draw(st.integers(2, 300)))
    found = Histogrammer(make_bins(edges, fitted)).counts([seen.reshape(1, 1, -1)])
    low, high = float(fitted.min()), float(fitted.max())
    expected = [literal_bin(float(value), edges.tolist(), low, high) for value in seen]
    assert found[0].tolist() == np.bincount(expected, minlength=len(edges)).tolist()


def test_file_round_trip_and_refusals(tmp_path: Path) -> None:
    responses = draw("normal")
    bins = make_bins(fitted_edges(responses, 10), responses)
    path = str(tmp_path / "bins.npz")
    bins.save(path)
    loaded = load_bins(path)
    assert loaded.info == bins.info
    assert loaded.checksum() == bins.checksum()
    assert (loaded.edges == bins.edges).all()
    with pytest.raises(InputError, match=r"bins\.npz exists: give --force"):
        bins.save(path)
    bins.save(path, force=True)

    with pytest.raises(InputError, match=r"none\.npz does not exist"):
        load_bins(str(tmp_path / "none.npz"))
    whole = (tmp_path / "bins.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "other.npz", edges=np.zeros(3))
    np.savez(
        tmp_path / "falling.npz",
        info=np.load(path)["info"],
        edges=bins.edges[:, ::-1],
        minimum=bins.minimum,
        maximum=bins.maximum,
    )
    (tmp_path / "text.npz").write_text("edges")
    (tmp_path / "folder.npz").mkdir()
    for name, reason in (
        ("cut.npz", "it is no .npz file, or cut short"),
        ("text.npz", "it is no .npz file, or cut short"),
        ("folder.npz", "it is a folder"),
        ("other.npz", "it holds no 'info'"),
        ("falling.npz", "its edges are not finite and ascending"),
    ):
        message = f"{name} is not a bins file that 'sjft fit-bins' wrote ({reason})"
        with pytest.raises(InputError, match=re.escape(message)):
            load_bins(str(tmp_path / name))
