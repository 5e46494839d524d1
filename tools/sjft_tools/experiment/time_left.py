"""How long the rest of a run will take, from what its steps have taken so far.

A step that was run before, from other inputs maybe, will take as long again; one of a kind that has
ended in another round as long for each unit of its size (training: for each iteration). Of other
steps nothing is known, and that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sjft_tools.experiment.step import Marker, Step

_MINUTE, _HOUR = 60, 3600


class TimeLeft:
    """Times of the steps of one run folder; `markers`: of all that have ended in it before."""

    def __init__(self, markers: Mapping[str, Marker]) -> None:
        self._markers = dict(markers)

    def learn(self, markers: Mapping[str, Marker]) -> None:
        """Take in what has ended since."""
        self._markers.update(markers)

    def of(self, step: Step) -> float | None:
        """Return the seconds that `step` takes, from its beginning; None if nothing is known."""
        own = self._markers.get(step.name)
        if own is not None and own.get("size") == step.size:
            return float(own["seconds"])
        like = [
            marker
            for name, marker in self._markers.items()
            if Step(name, (), (), ()).kind == step.kind and marker.get("size")
        ]
        if not like:
            return None
        seconds, sizes = (sum(marker[key] for marker in like) for key in ("seconds", "size"))
        return float(seconds / sizes * step.size)

    def words(self, rest: Sequence[Step], spent: float) -> str:
        """Say how long the steps `rest` will take, `spent` seconds on the first of them being over.

        "about 2 h 10 min left", with the kinds of steps of which nothing is known.
        """
        times = [self.of(step) for step in rest]
        if times and times[0] is not None:
            times[0] = max(0.0, times[0] - spent)
        known = [seconds for seconds in times if seconds is not None]
        unknown = _kinds(step for step, seconds in zip(rest, times) if seconds is None)
        if not known:
            return "time left unknown as yet"
        left = f"about {duration(sum(known))} left"
        return f"{left}, and what {unknown} will take" if unknown else left


def _kinds(steps: Iterable[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    return ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in counts.items())


def duration(seconds: float) -> str:
    """Return a duration as people say it: "40 s", "12 min", "3 h 5 min"."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60} min"
