"""The times that a data layer's batches take in training."""

from __future__ import annotations

import time
from typing import Any

from sjft import prefetch


def watch_stream(waited: list[float], took: list[float]) -> None:
    """Note the seconds of every batch that a layer takes: waited for, and in all."""
    take = prefetch.PrefetchedStream.next_into

    def watched(stream: Any, out: Any) -> float:
        begin = time.perf_counter()
        waited.append(take(stream, out))
        took.append(time.perf_counter() - begin)
        return waited[-1]

    setattr(prefetch.PrefetchedStream, "next_into", watched)  # noqa: B010
