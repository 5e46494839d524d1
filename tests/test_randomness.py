"""Counter-based random numbers against a literal Philox, and their properties."""

from __future__ import annotations

import sys
import zlib

import numpy as np
import pytest

from processes import run
from sjft.randomness import permutation, random_bits, scale_to_integers, uniform

WORD = 2**64


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x64-10 as Salmon et al. 2011 write it: four words from a counter and a key."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], WORD)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], WORD)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) % WORD, (k[1] + 0xBB67AE8584CAA73B) % WORD]
    return c


def test_the_literal_philox_gives_the_published_words():
    """Known answers of the authors' Random123."""
    assert philox([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert philox([WORD - 1] * 4, [WORD - 1] * 2)[0] == 0x87B092C3013FE90B


@pytest.mark.parametrize(
    ("seed", "stream", "counter"),
    [
        (0, "", ()),
        (1, "source", (0, 0)),
        (2**64 - 1, "ü", (2**64 - 1, 5, 7)),
        (12345, "class limit", (20_000, 3)),
    ],
)
def test_words_are_philoxs(seed, stream, counter):
    """The counter's first word runs, the others are the caller's; the key is seed and stream."""
    key = [seed, zlib.crc32(stream.encode())]
    callers = [*counter, 0, 0, 0][:3]
    expected: list[int] = []
    for running in range(1, 4):
        expected += philox([running, *callers], key)
    found = random_bits(seed, stream, *counter, size=11)
    assert found.dtype == np.uint64
    assert found.tolist() == expected[:11]


def test_draws_depend_on_nothing_but_their_arguments():
    first = random_bits(3, "a", 1, 2, size=50)
    np.random.seed(9)
    assert (random_bits(3, "a", 1, 2, size=50) == first).all()
    assert (random_bits(3, "a", 1, 2, size=20) == first[:20]).all()
    script = (
        "from sjft.randomness import random_bits as r; print(r(3, 'a', 1, 2, size=50).tolist())"
    )
    assert run(sys.executable, "-c", script).strip() == str(first.tolist())


def test_draws_of_other_arguments_share_nothing():
    draws = [
        random_bits(seed, stream, *counter, size=100)
        for seed in (0, 1)
        for stream in ("a", "b")
        for counter in ((0, 0), (0, 1), (1, 0), (0, 0, 1))
    ]
    words = np.concatenate(draws)
    assert len(set(words.tolist())) == len(words)


def test_uniform():
    u = uniform(1, "u", size=100_000)
    assert u.dtype == np.float64 and u.min() >= 0 and u.max() < 1
    assert ((u * 2**53) % 1 == 0).all()
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * len(u))
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 45  # chi-squared, 19 degrees: 99.93 %


def test_scale_to_integers():
    below_one = np.nextafter(1, 0)
    for high in (1, 2, 3, 10, 2**31, 2**53, 2**60):
        found = scale_to_integers(np.array([0.0, 0.5, below_one]), high)
        assert found.dtype == np.int64
        assert found.tolist() == [0, high // 2, found[2]] and high - 1 - 2**8 <= found[2] < high
    found = scale_to_integers(np.array([below_one] * 3), np.array([1, 5, 9]))
    assert found.tolist() == [0, 4, 8]
    assert int(scale_to_integers(np.float64(0.99), 10)) == 9
    counts = np.bincount(scale_to_integers(uniform(1, "v", size=70_000), 7), minlength=7)
    assert len(counts) == 7 and abs(counts - 10_000).max() < 400


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_permutation(n):
    order = permutation(n, 4, "p", 1)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert (permutation(n, 4, "p", 1) == order).all()
    if n > 7:
        assert (permutation(n, 4, "p", 2) != order).any()


def test_permutations_are_all_as_likely():
    seen = [tuple(permutation(3, 0, "p", i).tolist()) for i in range(6000)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 6 and max(counts) - min(counts) < 250
