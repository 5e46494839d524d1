"""The limits within which a target's neighbours are looked for."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descriptors import BINS, LAYERS, draw_descriptors, exact_distances
from sjft_tools.distance import Distance
from sjft_tools.matching.limits import limits, rank, sample_positions
from sjft_tools.matching.products import make_product


def tail(r: int, size: int, n: int, k: int) -> float:
    """The probability that r or more of k given ones are in a sample of `size` of n."""
    ways = math.comb(n, size)
    most = min(k, size)
    return sum(math.comb(k, i) * math.comb(n - k, size - i) / ways for i in range(r, most + 1))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 600), st.data())
def test_a_limit_fails_once_in_a_thousand_million(n: int, data: st.DataObject) -> None:
    size, k = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    assert tail(rank(size, n, k), size, n, k) <= 1e-9


@pytest.mark.parametrize(
    ("n", "k", "size"),
    [(1_281_167, 5000, 16398), (100_000, 5000, 1280), (5_000_000_000, 10, 131_072), (2048, 1, 256)],
)
def test_size_of_the_sample(n: int, k: int, size: int) -> None:
    positions = sample_positions(n, k, seed=1)
    assert len(positions) == size
    assert positions.dtype == np.int64
    assert (np.diff(positions) > 0).all()
    assert positions[0] >= 0
    assert positions[-1] < n
    assert (sample_positions(n, k, seed=1) == positions).all()
    assert (sample_positions(n, k, seed=2) != positions).any()
    # The sample lets not much more through than is wanted.
    assert rank(size, n, k) / size < 2 * max(k, 20 * n / size) / n


@pytest.mark.parametrize(("n", "k"), [(2047, 1), (3000, 2900), (3000, 3000), (1, 1)])
def test_no_limits_where_they_would_save_little(n: int, k: int) -> None:
    assert not sample_positions(n, k, seed=0).size
    distance = Distance(LAYERS, BINS)
    found = limits(distance, draw_descriptors(1, 3), [], 256, n, k, make_product())
    assert found.tolist() == [math.inf] * 3


def test_limits_hold_and_are_tight() -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 6), draw_descriptors(2, 3000)
    exact = exact_distances(distance, targets, sources)
    k = 200
    for seed in range(5):
        sample = sources[sample_positions(len(sources), k, seed)]
        # some of the sample can be missing: those that cannot be decoded
        parts, size = (sample[:7], sample[7:40], sample[40:]), len(sample) + 3 * seed
        found = limits(distance, targets, parts, size, len(sources), k, make_product())
        r = rank(len(sample), len(sources), k)
        in_sample = np.sort(exact_distances(distance, targets, sample), axis=1)[:, r - 1]
        assert (np.sort(exact, axis=1)[:, k - 1] <= found).all()
        assert (in_sample <= found).all()
        assert np.allclose(in_sample, found, rtol=1e-3)


def test_no_block_of_the_sample_is_kept() -> None:
    """A sample of ImageNet has descriptors of over a gibibyte."""
    distance = Distance(LAYERS, BINS)
    earlier: list[weakref.ref[np.ndarray]] = []

    def sample() -> Iterator[np.ndarray]:
        for seed in range(6):
            assert sum(block() is not None for block in earlier) <= 1
            block = draw_descriptors(seed, 50)
            earlier.append(weakref.ref(block))
            yield block
            del block

    found = limits(distance, draw_descriptors(9, 3), sample(), 300, 3000, 20, make_product())
    assert len(earlier) == 6 and np.isfinite(found).all()
