"""How much of its time training spends waiting for data, said in the log now and then."""

from __future__ import annotations

import time

from sjft.log import say

_TOO_MUCH = 0.05


class WaitReport:
    """Adds up the waiting, and reports it every so many batches."""

    def __init__(self, layer: str, every: int, remedy: str) -> None:
        """`layer`: its name in the log; `every`: batches between two reports, 0 for none.

        `remedy`: what to do when the share is large.
        """
        self._layer = layer
        self._every = every
        self._remedy = remedy
        self._batches = 0
        self._waited_s = 0.0
        self._since = time.monotonic()

    def note(self, waited_s: float) -> None:
        """Take in that a batch was waited for, in seconds."""
        self._batches += 1
        self._waited_s += waited_s
        if self._every and self._batches % self._every == 0:
            now = time.monotonic()
            say(f"{self._layer}: {self.sentence(now - self._since)}")
            self._since, self._waited_s = now, 0.0

    def sentence(self, elapsed_s: float) -> str:
        """Return the report on the last `every` batches, which took `elapsed_s`."""
        share = self._waited_s / elapsed_s if elapsed_s > 0 else 0.0
        hint = f": {self._remedy}" if share > _TOO_MUCH else ""
        return (
            f"in the last {self._every} batches training waited for data {100 * share:.1f} % of "
            f"the time ({self._waited_s:.1f} of {elapsed_s:.1f} s){hint}"
        )
