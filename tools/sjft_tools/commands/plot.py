"""Draw training curves from logs of 'caffe train', or from what 'sjft train' wrote.

One panel per quantity: training dashed, validation solid, a colour for every run. Accuracies are
drawn as errors. The parts of a resumed run are joined.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence

from sjft.errors import InputError, did_you_mean
from sjft_tools.atomic import new_file, refuse_existing
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.curves.drawing import draw_curves, quantities
from sjft_tools.curves.reading import default_names, read_run
from sjft_tools.curves.run import Run, is_vector

_ENDINGS = (".png", ".svg", ".pdf", ".csv")
_MOST_PANELS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "logs",
        metavar="LOG",
        nargs="+",
        help="a run: its log or CSV; the parts of one run that was resumed, oldest first, with "
        "commas between; NAME=LOG to say how the picture calls it (default: after the file)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        nargs="+",
        required=True,
        help="what to write, by the name's ending: a picture .png, .svg or .pdf, the values .csv",
    )
    parser.add_argument(
        "--only",
        metavar="QUANTITY",
        nargs="+",
        help="these quantities, as the log calls them (default: all but the learning rate, lr, and "
        "outputs of several numbers)",
    )
    parser.add_argument(
        "--smooth",
        type=integer_at_least(1),
        metavar="N",
        help="draw the mean of N values of a training curve (default: of a fortieth of them)",
    )
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    _check_outputs(args.out, args.force)
    named = _named_runs(args.logs)
    _keep_logs([path for _, files in named for path in files], args.out)
    runs = [read_run(name, files) for name, files in named]
    for each in runs:
        for key, iteration in each.not_finite.items():
            print(
                f"{each.name}: {key.phase} {key.quantity} is not finite at iteration {iteration}; "
                f"such values are left out",
                file=sys.stderr,
            )
    shown = _chosen(quantities(runs), args.only)
    for path in args.out:
        with new_file(path, args.force) as partial:
            if path.endswith(".csv"):
                _write_values(runs, partial)
            else:
                draw_curves(runs, shown, args.smooth, partial)
    print(
        f"drew {', '.join(shown)} of {', '.join(each.name for each in runs)}: {' '.join(args.out)}"
    )


def _check_outputs(paths: Sequence[str], force: bool) -> None:
    for path in paths:
        refuse_existing(path, force)
        if not path.endswith(_ENDINGS):
            raise InputError(f"the output {path} must end in {', '.join(_ENDINGS)}")
    if len(set(map(os.path.abspath, paths))) < len(paths):
        raise InputError(f"--out names a file twice: {' '.join(paths)}")


def _keep_logs(logs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse to write over what is read."""
    read = {os.path.realpath(path) for path in logs}
    for path in outputs:
        if os.path.realpath(path) in read:
            raise InputError(f"--out names {path}, a log that is read: expected another name")


def _named_runs(texts: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return name and files of every run. Raises InputError if two are called the same."""
    given: list[tuple[str | None, list[str]]] = []
    for text in texts:
        name, equals, rest = text.partition("=")
        if os.path.exists(text):
            given.append((None, [text]))
        elif equals and name and os.sep not in name:
            given.append((name, [rest] if os.path.exists(rest) else rest.split(",")))
        else:
            given.append((None, text.split(",")))
        if "" in given[-1][1]:
            raise InputError(f"{text!r} names no log between its commas: expected [NAME=]LOG[,LOG]")
    names = iter(default_names([files[0] for name, files in given if name is None]))
    runs: list[tuple[str, list[str]]] = []
    for chosen, files in given:
        name = next(names) if chosen is None else chosen
        if name in dict(runs):
            raise InputError(
                f"two runs are called {name!r}: give them names, as in first={files[0]}; the parts "
                f"of one run are joined by commas"
            )
        runs.append((name, files))
    return runs


def _chosen(known: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """Return the quantities to draw."""
    for name in only or ():
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise InputError(f"no run has the quantity {name!r} of --only{hint}")
    chosen = list(dict.fromkeys(only or ()))
    if not only:
        chosen = [name for name in known if name != "lr" and not is_vector(name)]
        left_out = sorted({name.partition("[")[0] for name in known if is_vector(name)})
        if left_out:
            print(
                f"left out outputs of several numbers: {', '.join(left_out)}; --only names them "
                f"one by one, as in {left_out[0]}[0]",
                file=sys.stderr,
            )
    if not chosen:
        raise InputError("no quantity with a finite value is left to be drawn")
    if len(chosen) > _MOST_PANELS:
        raise InputError(
            f"{len(chosen)} quantities do not fit a picture, expected at most {_MOST_PANELS}: "
            f"choose by --only"
        )
    return chosen


def _write_values(runs: Sequence[Run], path: str) -> None:
    """Write all values, one a row, as Caffe displayed them: not smoothed, accuracies as such."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", "phase", "net", "quantity", "iteration", "value"])
        for each in runs:
            for key, series in each.series().items():
                for iteration, value in zip(series.iterations.tolist(), series.values.tolist()):
                    writer.writerow([each.name, *key, iteration, repr(value)])
