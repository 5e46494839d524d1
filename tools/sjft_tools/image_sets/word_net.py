"""Lists of WordNet synsets, by which ImageNet and its parts name their classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sjft.errors import InputError
from sjft_tools.image_sets import Entry
from sjft_tools.image_sets.published import say

WNID = re.compile(r"n[0-9]{8}")
#: n01440764_10026.JPEG
IMAGE = re.compile(r"(?:^|.*/)(n[0-9]{8})_[0-9]+\.jpe?g", re.IGNORECASE)


def say_empty(entries: Sequence[Entry], labels: dict[str, int]) -> None:
    """Say on standard error which synsets, by their `labels`, none of `entries` is of."""
    present = {entry.label for entry in entries}
    say("missing synset", [wnid for wnid, label in labels.items() if label not in present])


def read_synsets(lines: Sequence[str], where: str) -> dict[str, str]:
    """Return the words of each synset of a list of ``wnid`` or ``wnid words`` lines; "" without.

    Raises InputError if a line is none, or a synset comes twice.
    """
    words: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        wnid, _, text = line.replace("\t", " ").partition(" ")
        if not WNID.fullmatch(wnid):
            raise InputError(
                f"line {number} of {where} is {line[:80]!r}: expected a WordNet id, as n01440764"
            )
        if wnid in words:
            raise InputError(f"line {number} of {where} names {wnid} again: expected each once")
        words[wnid] = text.strip()
    return words
