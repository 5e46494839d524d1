"""Threads that work side by side: order, bounds, errors, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sjft_tools.overlap import cores, in_order


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_not_too_far_ahead(threads: int) -> None:
    taken = 0
    begun = []

    def items() -> Iterator[int]:
        for item in range(50):
            begun.append(item)
            assert len(begun) - taken <= threads + 2
            yield item

    barrier = threading.Event()

    def square(item: int) -> int:
        if item % threads == 0:  # some are slower than the next
            barrier.wait(0.002)
        return item * item

    for expected, found in enumerate(in_order(square, items(), threads, 2)):
        assert found == expected**2
        taken += 1
    assert taken == 50


def test_as_many_threads_run_at_once_as_were_asked_for() -> None:
    together = threading.Barrier(3, timeout=600)
    assert list(in_order(lambda item: together.wait() < 3, range(6), 3, 2)) == [True] * 6


def test_an_error_is_raised_in_its_place_and_ends_the_threads() -> None:
    before = set(threading.enumerate())

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    found = []
    with pytest.raises(ValueError, match="item 3"):
        for result in in_order(work, range(100), 2, 2):
            found.append(result)
    assert found == [0, 1, 2]
    assert set(threading.enumerate()) <= before


def test_a_generator_closed_early_ends_the_threads() -> None:
    before = set(threading.enumerate())
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return item

    results = in_order(work, range(1000), 2, 2)
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert set(threading.enumerate()) <= before
    assert len(begun) <= 6


def test_cores_are_as_many_as_blas_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    for text in ("", "0", "4,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert cores() >= 1
