"""What the published data sets have in common: their options, lists against files, known counts."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from sjft.errors import InputError
from sjft_tools.image_sets import Entry
from sjft_tools.image_sets.files import Files

_NAMED = 50


def add_published_arguments(parser: argparse.ArgumentParser, splits: Sequence[str]) -> None:
    """Add the folder of downloads, --split and --incomplete."""
    parser.add_argument(
        "folder", metavar="DIR", help="holds the downloads, packed or unpacked: docs/data_sets.md"
    )
    parser.add_argument("--split", required=True, choices=splits, help="the part to convert")
    parser.add_argument(
        "--incomplete",
        action="store_true",
        help="convert what is there, even if it is not what was published",
    )


def check_count(found: int, published: int, what: str, incomplete: bool) -> None:
    """Raise InputError, or with `incomplete` say, that `what` are not as many as published."""
    if found != published:
        text = f"found {found:,} {what}, published are {published:,}"
        if not incomplete:
            raise InputError(f"{text}: expected all; give --incomplete to convert what is there")
        print(text, file=sys.stderr)


def listed_entries(
    files: Files, paths: Sequence[str], labels: Sequence[int], where: str, incomplete: bool
) -> list[Entry]:
    """Return an entry for each of `paths`, relative ones from the list `where`, with its label.

    A path that differs from a file's only in the case of letters means that file. What is missing
    is named on standard error, and raises InputError unless it may be `incomplete`.
    """
    if not paths:
        raise InputError(f"{where} names no images: expected the published list")
    refuse_doubles(paths, where)
    prefix = files.prefix(paths)
    absent = [path for path in paths if prefix + path not in files.places]
    respelt = _other_spellings(files, prefix, absent)
    missing = [path for path in absent if path not in respelt]
    entries = [
        files.entry(respelt.get(path, prefix + path), int(label))
        for path, label in zip(paths, labels)
        if prefix + path in files.places or path in respelt
    ]
    say("differs from the file's name in the case of letters", list(respelt))
    say("missing", missing)
    if missing and not (incomplete and entries):
        raise InputError(
            f"{files.origin} lacks {len(missing):,} of the {len(paths):,} images that {where} "
            f"names, the first {missing[0]}: expected all; give --incomplete to convert the others"
        )
    return entries


def refuse_doubles(names: Sequence[str], where: str) -> None:
    """Raise InputError if `where`, a list or what holds the images, has one of `names` twice."""
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise InputError(
            f"{where} has {len(doubled):,} images more than once, the first {doubled[0]}: expected "
            f"each once"
        )


def _other_spellings(files: Files, prefix: str, paths: Sequence[str]) -> dict[str, str]:
    """Map those of `paths` that one file alone has in another case of letters to that file."""
    wanted = {(prefix + path).lower(): path for path in paths}
    found: dict[str, list[str]] = {}
    for actual in files.places if paths else ():
        if actual.lower() in wanted:
            found.setdefault(wanted[actual.lower()], []).append(actual)
    return {path: actual[0] for path, actual in found.items() if len(actual) == 1}


def say(what: str, names: Sequence[str]) -> None:
    """Say `what` of each of `names`, of the first fifty by name, on standard error."""
    for name in names[:_NAMED]:
        print(f"{what}: {name}", file=sys.stderr)
    if len(names) > _NAMED:
        print(f"{what}: {len(names) - _NAMED:,} more", file=sys.stderr)
