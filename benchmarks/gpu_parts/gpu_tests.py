"""Step: those tests of tests/ that are marked as needing a GPU, by the pytest of this Python.

A Python without pytest, as a bundle's is, leaves them out and says so. Of two Pythons, one with
Caffe and one with torch, each skips what it lacks; where both are one, it runs them once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from step import Findings, Settings, run
from tables import table

TESTS = Path(__file__).resolve().parent.parent.parent / "tests"
MARK = "gpu"


def main(settings: Settings, findings: Findings) -> None:
    this = [sys.executable, *sorted(set(sys.path))]
    findings.add(python=this)
    if this in [found["python"] for found in settings["earlier"] if found]:
        return
    title = f"Tests that need a GPU, by {sys.executable}"
    if importlib.util.find_spec("pytest") is None:
        findings.add(table(title, ["", ""], [["left out", "this Python has no pytest"]]))
        return
    import pytest

    os.environ.pop("PYTEST_ADDOPTS", None)  # which whoever runs all tests has chosen for those
    found = Outcomes(findings)
    files = settings["files"] or marked_files()
    words = ["-m", MARK, "-p", "no:cacheprovider", *map(str, files)]
    status = pytest.main(words, plugins=[found])
    rows = [[name, found.numbers[name]] for name in ("passed", "failed", "skipped")]
    rows += [[f"skipped: {reason}", number] for reason, number in found.reasons.most_common()]
    findings.add(table(title, ["", "tests"], rows))
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        which = ", ".join(found.failed) or f"pytest ended with status {int(status)}"
        raise SystemExit(f"tests failed: {which}")


def marked_files() -> list[Path]:
    """Return the files of tests/ in which a test has the mark."""
    files = sorted(TESTS.glob("test_*.py"))
    return [file for file in files if f"mark.{MARK}" in file.read_text(encoding="utf-8")]


class Outcomes:
    """A plugin of pytest that counts outcomes, and puts them down after every test."""

    def __init__(self, findings: Findings) -> None:
        self.numbers: Counter[str] = Counter(passed=0, failed=0, skipped=0)
        self.reasons: Counter[str] = Counter()
        self.failed: list[str] = []
        self._findings = findings

    def pytest_collectreport(self, report: Any) -> None:
        """Count a whole file that is skipped, or that cannot be read, as one test."""
        if not report.passed:
            self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a test by its call; by its fixtures' making and end only what went wrong there."""
        if report.passed and report.when != "call":
            return
        self.numbers[report.outcome] += 1
        if report.failed:
            self.failed.append(report.nodeid)
        if report.skipped:
            self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
        self._findings.add(outcomes=dict(self.numbers), failed=self.failed)


if __name__ == "__main__":
    run(main)
