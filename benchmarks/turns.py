"""Ways of doing the same work take turns."""

from __future__ import annotations

import random
import time
from typing import Callable

from sjft_tools.command import progress

#: One turn of a way: it does some work, and returns how many images or pairs that was.
Way = Callable[[], int]
#: way -> images or pairs per second, one value per round
Rates = dict[str, list[float]]


def measure(ways: dict[str, Way], rounds: int, seconds: float, what: str) -> Rates:
    """Return how fast every way is, once for each round, in a random order each time.

    A way has turns for so many seconds, one at least; one before the first round does not count.
    """
    rates: Rates = {name: [] for name in ways}
    order = random.Random(1)
    for way in ways.values():
        way()  # compiles, allocates
    for _ in progress(range(rounds), what, unit="round"):
        for name in order.sample(list(ways), len(ways)):
            begin, done = time.perf_counter(), ways[name]()
            while time.perf_counter() - begin < seconds:
                done += ways[name]()
            rates[name].append(done / (time.perf_counter() - begin))
    return rates
