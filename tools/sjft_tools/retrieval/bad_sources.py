"""The source images that cannot be decoded: named as they are met, counted, limited."""

from __future__ import annotations

import sys

from tqdm import tqdm

from sjft.errors import InputError

#: As the data layers' max_bad_images.
MOST_BAD = 100


class BadSources:
    """Counts the bad source images of a run; `most` of them are borne."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def known(self, sentences: list[str]) -> None:
        """Take in those of a shard that was done before. Raises InputError as add() does."""
        for sentence in sentences:
            self._take(sentence)

    def add(self, sentence: str) -> None:
        """Take in one image, and name it on standard error if it is new.

        Raises InputError if there are now more than `most`.
        """
        if sentence in self._seen:
            return
        self._take(sentence)
        tqdm.write(
            f"sjft: {sentence}; it is no image's neighbour (bad images so far: {len(self._seen)}, "
            f"at most {self._most})",
            file=sys.stderr,
        )

    def _take(self, sentence: str) -> None:
        self._seen.add(sentence)
        if len(self._seen) > self._most:
            raise InputError(
                f"{len(self._seen)} source images cannot be used, more than --max-bad-images "
                f"{self._most} allows; the last: {sentence}"
            )
