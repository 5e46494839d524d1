"""The errors that a user can mend: an input that is not what it should be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A bad input, said in one sentence: what was wrong, which file or key, what was expected."""


class BadImageError(InputError):
    """One stored image that cannot be used, for which another could stand in."""


def why_unread(error: Exception) -> str:
    """Return why a file could not be read or parsed, without the name that an OSError repeats."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'crop'?"`` for the choice nearest to `word`, or ``""``."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
