"""What all commands share: the parser's manners, the options' print-out, the progress bar."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Callable, TypeVar

from tqdm import tqdm

from sjft.errors import InputError

Item = TypeVar("Item")

#: How often a progress bar moves at most: one that moves would fill a file.
BAR_INTERVAL_S = 0.5
BAR_INTERVAL_IN_FILES_S = 60.0
_LONGEST_INTERVAL_S = 10.0  # as tqdm's own


EXAMPLES_TITLE = "examples:\n"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds each option's default to its help, where there is one that the help does not tell.

    Examples keep their lines.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help is not None and "(default" in action.help
        if told or action.default in (None, False, "", []):
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(f'{value:g}' for value in action.default)})"
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES_TITLE):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help shows every default."""

    def __init__(self, **keywords: Any) -> None:
        keywords.setdefault("formatter_class", _HelpFormatter)
        super().__init__(allow_abbrev=False, **keywords)


def integer_at_least(minimum: int) -> Callable[[str], int]:
    """Return an argparse type: an integer of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected an integer >= {minimum}, got {text!r}")
        return value

    return parse


def number_above_zero(text: str) -> float:
    """Parse an argument: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def add_mean(
    parser: argparse.ArgumentParser, default: list[float] | None = None, otherwise: str = ""
) -> None:
    """Add --mean, three numbers; `otherwise` says what holds without it, if there is no default."""
    parser.add_argument(
        "--mean",
        type=float,
        nargs=3,
        default=default,
        metavar=("B", "G", "R"),
        help="what is subtracted from the pixels" + (otherwise and f" (default: {otherwise})"),
    )


def check_mean(mean: Sequence[float] | None) -> None:
    """Raise InputError if a number of --mean is not finite."""
    if mean is not None and not all(map(math.isfinite, mean)):
        raise InputError(f"--mean is {list(mean)}, expected three finite numbers")


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force, without which no command overwrites anything."""
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")


def print_options(prog: str, args: argparse.Namespace) -> None:
    """Print a command's resolved options to standard error, one line."""
    options = "  ".join(f"{name}={value}" for name, value in vars(args).items())
    print(f"{prog}: {options}", file=sys.stderr, flush=True)


def progress(
    items: Iterable[Item],
    what: str,
    total: int | None = None,
    unit: str = "image",
    initial: int = 0,
) -> tqdm[Item]:
    """Wrap `items` in a progress bar on standard error: rate, time left.

    `initial`: how many of the `total` were done before. Where standard error is a file, the bar
    moves once a minute.
    """
    interval = BAR_INTERVAL_S if sys.stderr.isatty() else BAR_INTERVAL_IN_FILES_S
    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        file=sys.stderr,
        mininterval=interval,
        maxinterval=max(interval, _LONGEST_INTERVAL_S),
    )
