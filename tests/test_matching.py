"""Neighbours by the fast matching against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from descriptors import (
    BINS,
    LAYERS,
    brute_force,
    draw_descriptors,
    exact_distances,
    hide_kernels,
)
from gpus import require_torch_on_a_gpu
from sjft.errors import InputError
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching import cpu_pairs, operands
from sjft_tools.matching.candidates import Candidates
from sjft_tools.matching.matcher import Matcher, match_all
from sjft_tools.matching.products import DeviceProduct, Product, make_product
from sjft_tools.matching.rounding import TENSOR_FLOAT_32
from sjft_tools.top_k import merge


@pytest.fixture(params=["numpy", "torch", "torch on a device", "torch, 11 bits", "no numba"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Product:
    """Each product, and numpy's without the compiled kernels. The CPU stands in for a GPU.

    With operands of 11 bits it does what tensor cores do, but for how they add up.
    """
    if request.param == "no numba":
        hide_kernels(monkeypatch)
        return make_product("numpy")
    pytest.importorskip("numba")
    if "torch" in request.param:
        pytest.importorskip("torch")
    if request.param == "torch on a device":
        return DeviceProduct("cpu")
    if request.param == "torch, 11 bits":
        return DeviceProduct("cpu", TENSOR_FLOAT_32)
    return make_product(request.param)


def match(
    distance: Distance,
    targets: np.ndarray,
    sources: np.ndarray,
    k: int,
    product: Product,
    block: int = 64,
    parts: int = 1,
    limits: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """merge() of `parts` parts of the sources, last part first; sources come five at a time."""
    if limits is None:
        limits = np.full(len(targets), np.inf)
    found: list[Candidates] = []
    for positions in np.array_split(np.arange(len(sources)), parts):
        matcher = Matcher(distance, targets, limits, product)
        pieces = np.array_split(positions, -(-len(positions) // 5))
        stream = ((piece, sources[piece]) for piece in pieces)
        found.append(match_all(matcher, stream, len(targets), k, block))
    return merge(reversed(found), len(targets), k)


@pytest.mark.parametrize(("block", "parts"), [(1, 1), (7, 4), (64, 1), (1000, 3)])
def test_neighbours_equal_brute_force(block: int, parts: int, product: Product) -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 9), draw_descriptors(2, 150)
    # Duplicates far apart, some of a target itself.
    sources[[140, 3, 77]] = sources[20]
    sources[[149, 0]] = targets[4]
    exact = brute_force(distance, targets, sources, 150)
    for k in (1, 10, 150):
        indices, distances, counts = match(distance, targets, sources, k, product, block, parts)
        assert (indices == exact[0][:, :k]).all()
        assert (distances == exact[1][:, :k]).all()
        assert indices.dtype == np.int64
        assert distances.dtype == np.float64
        assert counts.tolist() == [k] * 9


def test_groups_and_dropped_sources_change_nothing(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Descriptors of many slabs, targets of many groups, sources that are mostly far away.
    monkeypatch.setattr(cpu_pairs, "_GROUP", 4)
    monkeypatch.setattr(operands, "SLAB", 64)
    layers = (Layer("a", 12, 300, 0.5 / 12), Layer("b", 20, 80, 0.5 / 20))
    distance = Distance(layers, 30)
    rng = np.random.default_rng(4)
    kinds = rng.dirichlet(np.full(30, 0.5), (6, 32))
    targets, sources = (
        np.stack(
            [
                np.concatenate(
                    [rng.multinomial(300 if c < 12 else 80, kinds[kind, c]) for c in range(32)]
                )
                for kind in rng.integers(0, 6, count)
            ]
        ).astype(np.uint16)
        for count in (23, 180)
    )
    exact = exact_distances(distance, targets, sources)
    limits = np.sort(exact, axis=1)[:, 12]
    rows, columns = product.load(distance, targets).within(sources, limits)
    assert 23 * 13 <= len(rows) < 23 * 20
    found = Matcher(distance, targets, limits, product).match(np.arange(180), sources)
    kept = exact <= limits[:, None]
    assert len(found.targets) == kept.sum()
    assert kept[found.targets, found.sources].all()
    assert (found.distances == exact[found.targets, found.sources]).all()
    assert (np.diff(columns) >= 0).all()


def test_counts_of_32_bits(product: Product) -> None:
    layers = (Layer("a", 3, 70_000, 0.5 / 3), Layer("b", 2, 90, 0.5 / 2))
    distance = Distance(layers, 20)
    targets, sources = draw_descriptors(1, 6, layers, 20), draw_descriptors(2, 60, layers, 20)
    # Neighbours whose counts of one bin lie on both sides of 65,536.
    sources[[7, 50]] = targets[0]
    for row, count in ((targets[0], 69_000), (sources[7], 70_000), (sources[50], 64_000)):
        row[:20] = 0
        row[[3, 15]] = count, 70_000 - count
    assert targets.dtype == np.uint32
    expected = brute_force(distance, targets, sources, 2)
    assert set(expected[0][0]) == {7, 50}
    indices, distances, _ = match(distance, targets, sources, 2, product, 16, 2, expected[1][:, 1])
    assert (indices == expected[0]).all()
    assert (distances == expected[1]).all()


def test_limits_too_low_leave_targets_short_and_a_second_round_mends_it(product: Product) -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 9), draw_descriptors(2, 150)
    expected = brute_force(distance, targets, sources, 20)
    limits = expected[1][:, 19].copy()
    limits[[2, 5]] = expected[1][[2, 5], 10]
    indices, distances, counts = match(distance, targets, sources, 20, product, limits=limits)
    assert counts.tolist() == [20, 20, 11, 20, 20, 11, 20, 20, 20]
    assert (indices[[2, 5], 11:] == -1).all()
    assert np.isinf(distances[[2, 5], 11:]).all()
    short = np.flatnonzero(counts < 20)
    again = match(distance, targets[short], sources, 20, product, parts=2)
    indices[short], distances[short] = again[:2]
    assert (indices == expected[0]).all()
    assert (distances == expected[1]).all()


@pytest.mark.parametrize("block", [13, 500])
def test_ties_are_told_apart_by_position(block: int, product: Product) -> None:
    # Few distinct descriptors, each many times.
    distance = Distance(LAYERS, BINS)
    targets = draw_descriptors(1, 4)
    sources = draw_descriptors(2, 5)[np.random.default_rng(3).integers(0, 5, 400)]
    for k in (1, 30, 200):
        indices, distances, _ = match(distance, targets, sources, k, product, block, parts=3)
        expected_indices, expected_distances = brute_force(distance, targets, sources, k)
        assert (indices == expected_indices).all()
        assert (distances == expected_distances).all()


def test_distances_equal_in_theory_tie(product: Product) -> None:
    # Sources that are permutations of each other, seen from a target with equal bins.
    layers = (Layer("a", 2, 8, 0.5),)
    distance = Distance(layers, 4)
    target = np.full((1, 8), 2, np.uint16)
    rng = np.random.default_rng(0)
    row = np.array([5, 2, 1, 0])
    sources = np.array(
        [np.concatenate([rng.permutation(row), rng.permutation(row)]) for _ in range(90)]
    )
    indices, distances, _ = match(distance, target, sources.astype(np.uint16), 20, product)
    assert indices[0].tolist() == list(range(20))
    assert len(set(distances[0].tolist())) == 1


def test_a_product_that_is_not_there_is_refused() -> None:
    torch = pytest.importorskip("torch")
    assert make_product("auto").name in ("numpy", "torch", "cuda")
    if torch.cuda.is_available():
        assert make_product("cuda").name == make_product("auto").name == "cuda"
    else:
        with pytest.raises(InputError, match="the product cuda needs a GPU"):
            make_product("cuda")


@pytest.mark.gpu
def test_a_real_gpu_gives_the_same_bytes() -> None:
    require_torch_on_a_gpu()
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 60), draw_descriptors(2, 500)
    expected = brute_force(distance, targets, sources, 50)
    indices, distances, _ = match(distance, targets, sources, 50, make_product("cuda"), 128)
    assert (indices == expected[0]).all()
    assert (distances == expected[1]).all()


def hardest(layers: tuple[Layer, ...], bins: int) -> np.ndarray:
    """Descriptors at the ends of the range: all pixels in one bin, all bins alike, near misses."""
    rows = []
    for first, second in ((0, 1), (1, 0), (bins - 1, 0)):
        for moved in (0, 1):
            row = []
            for layer in layers:
                channel = np.zeros(bins, np.int64)
                channel[first] = layer.pixels - moved
                channel[second] += moved
                row += [channel] * layer.channels
            rows.append(np.concatenate(row))
    even = [np.full(bins * layer.channels, layer.pixels // bins) for layer in layers]
    rows.append(np.concatenate(even))
    return np.array(rows, np.uint16)


def test_the_bound_holds_for_the_hardest_descriptors(product: Product) -> None:
    layers = (Layer("a", 30, 2900, 0.5 / 30), Layer("b", 40, 600, 0.5 / 40))
    distance = Distance(layers, 100)
    drawn = draw_descriptors(1, 20, layers, 100)
    descriptors = np.concatenate([hardest(layers, 100), drawn])
    exact = exact_distances(distance, descriptors, descriptors)
    pairs = product.load(distance, descriptors)
    bounds = pairs.upper_bounds(descriptors).T
    assert (bounds >= exact).all()
    assert (bounds - exact <= 2e-3 * (exact + 2 * 36)).all()
    # Limits at a target's very distances keep every pair that is as near.
    for column in range(len(descriptors)):
        limits = exact[:, column]
        rows, columns = pairs.within(descriptors, limits)
        found = np.zeros(exact.shape, bool)
        found[rows, columns] = True
        assert found[exact <= limits[:, None]].all()


def test_elements_that_all_round_to_one_side_stay_within_the_bound(product: Product) -> None:
    for bins in range(2, 60):
        distance = Distance((Layer("a", 2, 3 * bins, 0.5 / 2),), bins)
        even = np.full((1, 2 * bins), 3, np.uint16)
        pairs = product.load(distance, even)
        rows, columns = pairs.within(even, np.zeros(1))
        assert (rows.tolist(), columns.tolist()) == ([0], [0])
        assert (pairs.upper_bounds(even) >= 0).all()
