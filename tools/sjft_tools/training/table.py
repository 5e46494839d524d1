"""The CSV of a run: one row per iteration of which Caffe displays anything."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from sjft.errors import InputError, why_unread
from sjft_tools.atomic import new_file
from sjft_tools.training.caffe_log import Event
from sjft_tools.training.patient_file import PatientFile

FIXED = ("iteration", "seconds", "lr", "loss")

#: kind of an event, number of the test net, number of the output
Key = tuple[str, int, int]


class NetOutputs(NamedTuple):
    """The outputs of a train net and of test nets: name and count of numbers of each, in order."""

    train: list[tuple[str, int]]
    tests: list[list[tuple[str, int]]]


def column_names(outputs: NetOutputs, with_test_loss: bool) -> dict[Key, str]:
    """Return the column of every value that is displayed besides the lr and the loss.

    `with_test_loss`: whether the solver has test_compute_loss.
    """
    columns = {("train", 0, i): f"train_{name}" for i, name in enumerate(_numbered(outputs.train))}
    for net, blobs in enumerate(outputs.tests):
        test = f"test{net}" if len(outputs.tests) > 1 else "test"
        for i, name in enumerate(_numbered(blobs)):
            columns["test", net, i] = f"{test}_{name}"
        if with_test_loss:
            name = f"{test}_total_loss"
            columns["test_loss", net, 0] = f"{name}_" if name in columns.values() else name
    return columns


def _numbered(blobs: list[tuple[str, int]]) -> list[str]:
    """Return a name for every number: the blob's, with an index if it has several."""
    names = []
    for name, count in blobs:
        names += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
    return names


class Table:
    """Writes rows to the CSV `path`, which reads as one straight run.

    Rows of iterations from `start` on, which an earlier run left there, are dropped; its earlier
    ones stay, and time goes on from the last one's. Raises InputError if the file is not a CSV
    of such a run.
    """

    def __init__(self, path: str, columns: dict[Key, str], start: int) -> None:
        self._columns = columns
        names, rows = _earlier(path, start)
        self._names = list(dict.fromkeys([*FIXED, *names, *columns.values()]))
        with new_file(path, force=True) as partial, open(partial, "w", encoding="utf-8") as file:
            file.write(self._line(dict(zip(self._names, self._names))))
            file.writelines(self._line(row) for row in rows)
        self.file = PatientFile(path, append=True)
        self._earlier_s = float(rows[-1]["seconds"]) if rows else 0.0
        self._row: dict[str, str] = {}

    def add(self, event: Event, seconds: float) -> None:
        """Take in a value that Caffe displayed `seconds` after the start of this run."""
        name = event.kind if event.kind in FIXED else self._columns.get(_key(event))
        if name is None:
            return
        iteration = str(event.iteration)
        if self._row.get("iteration") != iteration:
            self.flush()
            self._row = {"iteration": iteration, "seconds": f"{self._earlier_s + seconds:.2f}"}
        self._row[name] = event.value

    def flush(self) -> None:
        """Write the row of the last iteration: nothing more will be displayed of it."""
        if self._row:
            self.file.write(self._line(self._row).encode())
        self._row = {}

    def flush_before(self, iteration: int) -> None:
        """Write that row if it is of an iteration before `iteration`."""
        if self._row and int(self._row["iteration"]) < iteration:
            self.flush()

    def _line(self, row: dict[str, str]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._names, restval="", lineterminator="\n").writerow(row)
        return text.getvalue()


def _key(event: Event) -> Key:
    return event.kind, event.net or 0, event.output


def _earlier(path: str, start: int) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of the CSV `path`, and its rows before the iteration `start`."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return [], []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({why_unread(error)}): move it away") from None
    whole = [line for line in lines if line.endswith("\n")]
    reader = csv.DictReader(whole)
    names = list(reader.fieldnames or FIXED)
    if start and tuple(names[: len(FIXED)]) != FIXED:
        raise InputError(
            f"{path} is not the CSV of a training run: expected columns that begin with "
            f"{','.join(FIXED)}; move it away"
        )
    rows = [row for row in reader if _is_before(row, start)]
    return (names, rows) if rows else ([], [])


def _is_before(row: dict[str, str], start: int) -> bool:
    """Whether a row is whole and of an iteration before `start`."""
    try:
        float(row["seconds"])
        return int(row["iteration"]) < start and None not in row and None not in row.values()
    except (KeyError, TypeError, ValueError):
        return False
