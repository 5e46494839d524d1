"""From log files of ``caffe train`` and CSVs of ``sjft train`` to a run's values."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from sjft.errors import InputError
from sjft_tools.curves.run import TEST, TRAIN, Key, Run
from sjft_tools.training.caffe_log import Event, LogReader
from sjft_tools.training.table import FIXED

# What programs that pass a log on put before its lines: a rank, a time, a colour.
_GLOG = re.compile(r"[IWEF](?:\d{4}|\d{8}) \d\d:\d\d:\d\d")
_LONGEST_FRONT = 80
# The process that displays a line: a rank before it, as mpirun adds, or NVIDIA's device behind.
_RANK = re.compile(r"\[(\d+(?:,\d+)?)\](?:<\w+>:?)?\s*$")
_DEVICE = re.compile(r":\d+\]\s*\[([\d.]+)\]")
_TEST_COLUMN = re.compile(r"test(\d*)_(.+)")
LOSS = "loss"

Value = tuple[Key, int, float]


def read_run(name: str, files: Sequence[str]) -> Run:
    """Read the parts of one run, oldest first, logs or CSVs.

    Raises InputError if a file cannot be read or holds no values.
    """
    run = Run(name)
    for path in files:
        try:
            with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
                values = _values(file)
        except OSError as error:
            raise InputError(f"the log {path} cannot be read: {error.strerror}") from None
        if not values:
            raise InputError(
                f"{path} holds no values: expected a log of 'caffe train', with a 'display' in its "
                f"solver, or the CSV of 'sjft train'"
            )
        for key, iteration, value in values:
            run.add(key, iteration, value)
    return run


def _values(file: Iterable[str]) -> list[Value]:
    """Return the values in an open log or CSV. A last line that was cut short does not count."""
    lines = (line for line in file if line.endswith(("\n", "\r")))
    first = next(lines, "")
    if first.rstrip("\r\n").split(",")[: len(FIXED)] == list(FIXED):
        return list(_csv_values(first, lines))
    return _named(_events(itertools.chain([first], lines)))


def _csv_values(header: str, lines: Iterable[str]) -> Iterator[Value]:
    names = next(csv.reader([header]))
    keys = {name: _column_key(name) for name in names}
    for row in csv.DictReader(lines, names):
        try:
            iteration = int(row["iteration"])
            numbers = {name: float(row[name]) for name in names if row[name]}
        except (TypeError, ValueError):  # a row that was cut
            continue
        for name, value in numbers.items():
            key = keys[name]
            if key is not None:
                yield key, iteration, value


def _column_key(name: str) -> Key | None:
    """Return the series of a column (see training.table.column_names), None if it is none."""
    test = _TEST_COLUMN.fullmatch(name)
    if test is not None:
        quantity = LOSS if test[2] == "total_loss" else test[2]
        return Key(TEST, int(test[1] or 0), quantity)
    if name.startswith("train_"):
        return _train_key(name[len("train_") :])
    return Key(TRAIN, 0, name) if name in (LOSS, "lr") else None


def _train_key(output: str) -> Key | None:
    # an output that is called so is what Caffe displays smoothed, as the run's loss
    return None if output == LOSS else Key(TRAIN, 0, output)


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield what the log displays. Where several processes display it, only the first one's."""
    reader = LogReader()
    leader: dict[str, str] = {}
    for line in lines:
        start = _GLOG.search(line, 0, _LONGEST_FRONT)
        if start is None:
            continue
        shown_by = {"rank": _RANK.search(line[: start.start()]), "device": _DEVICE.search(line)}
        named = {kind: found[1] for kind, found in shown_by.items() if found}
        if any(leader.get(kind, name) != name for kind, name in named.items()):
            continue
        event = reader.read(line[start.start() :])
        if event is not None:
            leader = {**named, **leader}
            yield event


def _named(events: Iterable[Event]) -> list[Value]:
    """Return the events as values of series.

    Caffe displays each number of an output under the output's name: several get an index.
    """
    events = list(events)
    numbers: dict[tuple[str, int, str], list[int]] = {}
    for event in events:
        found = numbers.setdefault((event.kind, event.net or 0, event.name), [])
        if event.output not in found:
            found.append(event.output)
    values: list[Value] = []
    for event in events:
        found = sorted(numbers[event.kind, event.net or 0, event.name])
        index = f"[{found.index(event.output)}]" if len(found) > 1 else ""
        key = _event_key(event, f"{event.name}{index}")
        try:
            number = float(event.value)
        except ValueError:  # a line that was cut, and another one behind it
            continue
        if key is not None and event.iteration is not None:
            values.append((key, event.iteration, number))
    return values


def _event_key(event: Event, name: str) -> Key | None:
    if event.kind in (LOSS, "lr"):
        return Key(TRAIN, 0, event.kind)
    if event.kind == "train":
        return _train_key(name)
    return Key(TEST, event.net or 0, LOSS if event.kind == "test_loss" else name)


def default_names(paths: Sequence[str]) -> list[str]:
    """Return how runs are called after their files, with as many folders as tell them apart.

    The endings that Caffe and sjft give are left out.
    """
    folders = [os.path.dirname(os.path.abspath(path)).split(os.sep) for path in paths]
    names = [_base_name(path) for path in paths]
    for depth in range(max(map(len, folders), default=0)):
        tails = (folder[max(0, len(folder) - depth) :] for folder in folders)
        longer = ["/".join([*tail, name]) for tail, name in zip(tails, names)]
        if len(set(longer)) == len(paths):
            return longer
    return names


def _base_name(path: str) -> str:
    name = os.path.basename(path)
    for ending in (".csv", ".log", ".txt", "_train"):
        name = name[: -len(ending)] if name.endswith(ending) and name != ending else name
    return name
