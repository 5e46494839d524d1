"""Caffe's training log, line by line: the values that it displays.

Knows glog's prefix with a date of four digits (I1125) and of eight (I20261125), and the lines of
BVLC's Caffe from 2014 on and of NVIDIA's. Values stay text, as they are displayed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# severity, date, time, thread, source file and line; NVIDIA's adds the device in brackets
_PREFIX = re.compile(r"^[IWEF]\d{4,8} \d\d:\d\d:\d\d(?:\.\d+)?\s+\d+ [^\]]*\]\s*(?:\[[\d.]+\]\s*)?")
_TAIL = r"(?P<value>[^\s,]+)"
_WEIGHTED = r"(?: \(\* \S+ = \S+ loss\))?$"

#: kind of event -> what such a line says behind the prefix; the first that fits counts
_LINES = {
    "testing": re.compile(r"Iteration (?P<iteration>\d+), Testing net \(#(?P<net>\d+)\)"),
    "lr": re.compile(rf"Iteration (?P<iteration>\d+), lr = {_TAIL}"),
    "loss": re.compile(rf"Iteration (?P<iteration>\d+)\b.*, loss = {_TAIL}"),
    "train": re.compile(rf"Train net output #(?P<output>\d+): (?P<name>.+?) = {_TAIL}{_WEIGHTED}"),
    "test": re.compile(rf"Test net output #(?P<output>\d+): (?P<name>.+?) = {_TAIL}{_WEIGHTED}"),
    "test_loss": re.compile(rf"Test loss: {_TAIL}"),
    "score": re.compile(rf"Test score #(?P<output>\d+): {_TAIL}"),
}


class Event(NamedTuple):
    """What a line says.

    `kind`: "loss" and "lr", as displayed of an iteration; "train" and "test", the value number
    `output` of a net's outputs, which belongs to the blob `name`; "test_loss", the loss of a test;
    "testing", a test begins. `iteration` and, in tests, the number `net` are those of the line; a
    line that has none belongs to the last one that had: see LogReader.
    """

    kind: str
    value: str = ""
    iteration: int | None = None
    net: int | None = None
    output: int = 0
    name: str = ""


def parse_line(line: str) -> Event | None:
    """Return what a line of the log says, None for a line that displays nothing."""
    prefix = _PREFIX.match(line)
    if prefix is None:
        return None
    text = line[prefix.end() :].rstrip()
    for kind, pattern in _LINES.items():
        found = pattern.match(text)
        if found is not None:
            return _event(kind, found.groupdict())
    return None


def _event(kind: str, groups: dict[str, str]) -> Event:
    numbers = {key: int(groups[key]) for key in ("iteration", "net", "output") if key in groups}
    name = groups.get("name", "")
    if kind == "score":  # Caffe did not name them in 2014
        kind, name = "test", f"score{numbers['output']}"
    return Event(kind, groups.get("value", ""), name=name, **numbers)


class LogReader:
    """Reads a log from its start, so that every event knows its iteration and net."""

    def __init__(self) -> None:
        self._train_iteration: int | None = None
        self._test_iteration: int | None = None
        self._test_net = 0

    def read(self, line: str) -> Event | None:
        """Return the value that the line displays, with its iteration and its net."""
        event = parse_line(line)
        if event is None:
            return None
        if event.kind == "testing":
            self._test_iteration, self._test_net = event.iteration, event.net or 0
            return None
        if event.kind == "loss":
            self._train_iteration = event.iteration
        is_test = event.kind.startswith("test")
        iteration = event.iteration
        if iteration is None:
            iteration = self._test_iteration if is_test else self._train_iteration
        if iteration is None:  # the log's start is missing
            return None
        return event._replace(iteration=iteration, net=self._test_net if is_test else 0)
