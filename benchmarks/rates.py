"""Ways of making batches measured in turn, in processes of rate_probe.py."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from ways import Way

from sjft_tools.command import progress

PROBE = Path(__file__).with_name("rate_probe.py")

#: way -> "rate" (images per second), "cores", "others" -> one value per round
Results = dict[str, dict[str, list[float]]]


class Probe:
    """A process of rate_probe.py."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def tell(self, name: str, way: Way, seconds: float) -> None:
        """Begin to run a way."""
        assert self._process.stdin is not None
        print(
            json.dumps({"name": name, **way._asdict(), "seconds": seconds}),
            file=self._process.stdin,
            flush=True,
        )

    def answer(self) -> dict[str, float]:
        """Return its figures."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SystemExit(f"a measurement failed:\n{self._errors.read().decode()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()


def run(probes: list[Probe], name: str, way: Way, seconds: float) -> dict[str, float]:
    """Run `way` once; return images per second, and cores busy with it and with other processes."""
    for probe in probes[: way.processes]:
        probe.tell(name, way, seconds)
    found = [probe.answer() for probe in probes[: way.processes]]
    own = sum(figures["cores"] for figures in found)
    return {
        "rate": way.batch_size * sum(figures["batches"] for figures in found),
        "cores": own,
        "others": max(0.0, max(figures["all cores"] for figures in found) - own),
    }


def measure_rates(found: dict[str, Way], rounds: int, seconds: float) -> Results:
    """Return what run() says of every way, once for each round.

    Each round has processes of its own: where memory comes to lie makes one process faster than the
    next at the same work, for as long as it lives, by up to a third.
    """
    results: Results = {name: {"rate": [], "cores": [], "others": []} for name in found}
    order = random.Random(1)
    for _ in progress(range(rounds), "images per second", unit="round"):
        probes = [Probe() for _ in range(max(way.processes for way in found.values()))]
        for name in order.sample(list(found), len(found)):
            for key, value in run(probes, name, found[name], seconds).items():
                results[name][key].append(value)
        for probe in probes:
            probe.close()
    return results
