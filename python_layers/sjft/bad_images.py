"""The images of a stream that could not be used: each named in the log once, and counted."""

from __future__ import annotations

from collections.abc import Iterable

from sjft.errors import InputError
from sjft.log import say


class BadImages:
    """Takes in, batch by batch, what `fill` says of images for which others stand in."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many different images may be bad."""
        self._limit = limit
        self._seen: set[str] = set()

    def note(self, sentences: Iterable[str]) -> None:
        """Name the images that are new in the log; raise InputError once they pass the limit."""
        for sentence in sentences:
            if sentence in self._seen:
                continue
            self._seen.add(sentence)
            count = len(self._seen)
            if count > self._limit:
                raise InputError(
                    f"{count} images cannot be used, more than max_bad_images = {self._limit} "
                    f"allows; the last: {sentence}"
                )
            say(
                f"{sentence}; others stand in for it (bad images so far: {count}, at most "
                f"{self._limit})"
            )
