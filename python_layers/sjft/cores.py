"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CONTROL_GROUP = "/sys/fs/cgroup"
#: Files with a quota of processor time and the period that it is for, in both versions of cgroups.
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def cores() -> int:
    """Return the number of processor cores that this process may use, at least 1.

    A container with a quota of processor time sees all cores of its machine, but may use no more
    than the quota's worth of them.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else min(count, quota)


def _quota() -> int | None:
    """Return how many cores the container's quota is worth, rounded up; None if there is none."""
    for names in _QUOTAS:
        try:
            words = [Path(_CONTROL_GROUP, name).read_text() for name in names]
            allowed, period = map(int, " ".join(words).split())
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
        if allowed > 0:  # -1 is no bound
            return math.ceil(allowed / period)
    return None
