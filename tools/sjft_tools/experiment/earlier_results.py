"""What a step has made before, kept until what takes its place is complete.

The step's commands write to where the results lie: the earlier ones are set aside meanwhile, and
put back if the step does not come to its end; then the new ones, unfinished, are kept aside for the
next attempt. All of it is done by renames, and a kill between two leaves what the next run finds
its way in: the earlier marker is set aside last and put back first, so that the results in place
are the new ones as long as it is aside, and earlier ones otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote

from sjft_tools.atomic import remove
from sjft_tools.experiment.step import BEFORE, DONE, FOLDER, marker_file


class EarlierResults:
    """Results of the step `name` in the run folder `folder`, whichever of them lie in place."""

    def __init__(self, folder: str, name: str, results: Sequence[str]) -> None:
        """`results`: the files and folders that a step of that name makes, or may find begun."""
        self._folder = folder
        markers = os.path.join(folder, FOLDER)
        self._done = str(marker_file(markers, name))
        self._before = str(marker_file(markers, name, BEFORE))
        self._unfinished = str(marker_file(markers, name, "unfinished"))
        self._unneeded = str(marker_file(markers, name, "unneeded"))
        # what lies in another one goes with it
        self._results = [path for path in results if os.path.dirname(path) not in results]

    @property
    def marker(self) -> str:
        """Where the marker lies of what was made last."""
        aside = os.path.join(self._before, DONE)
        return aside if os.path.exists(aside) and not os.path.exists(self._done) else self._done

    def place(self, path: str) -> str:
        """Return where the result `path` lies of what was made last."""
        if os.path.exists(self._done) and os.path.exists(os.path.join(self._before, DONE)):
            return path
        for aside, result in self._in(self._before):
            if path == result or path.startswith(result + os.sep):
                return aside + path[len(result) :]
        return path

    def set_aside(self) -> None:
        """Make room for new results, and bring those that an earlier attempt has begun."""
        self._move(self._results, self._before)
        os.rename(self._done, os.path.join(self._before, DONE))
        self._bring(self._unfinished)

    def put_back(self) -> None:
        """Put the earlier results back, unless the new ones are complete or nothing was aside."""
        remove(self._unneeded)
        if os.path.exists(os.path.join(self._before, DONE)):
            if os.path.exists(self._done):
                self.forget()
                return
            self._move(self._results, self._unfinished)
            os.rename(os.path.join(self._before, DONE), self._done)
        self._bring(self._before)

    def forget(self) -> None:
        """Remove the earlier results: the new ones are complete."""
        self._discard(self._before)

    def forget_unfinished(self) -> None:
        """Remove what was begun in place of the earlier results."""
        self._discard(self._unfinished)

    def _in(self, aside: str) -> Iterator[tuple[str, str]]:
        """Yield where each result lies in the folder `aside`, and where it belongs."""
        for name in sorted(os.listdir(aside)) if os.path.isdir(aside) else ():
            if name != DONE:
                yield os.path.join(aside, name), os.path.join(self._folder, unquote(name))

    def _move(self, paths: Sequence[str], aside: str) -> None:
        os.makedirs(aside, exist_ok=True)
        for path in paths:
            if os.path.lexists(path):
                name = quote(os.path.relpath(path, self._folder), safe="")
                os.rename(path, os.path.join(aside, name))

    def _bring(self, aside: str) -> None:
        for path, result in self._in(aside):
            remove(result)
            os.makedirs(os.path.dirname(result), exist_ok=True)
            os.rename(path, result)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(aside)

    def _discard(self, aside: str) -> None:
        """Remove a folder of results so that a kill leaves it whole, or with another name."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(aside, self._unneeded)
            remove(self._unneeded)
