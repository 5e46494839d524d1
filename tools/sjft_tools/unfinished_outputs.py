"""Several outputs of one command, of which a kill may leave the first ones."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sjft_tools import atomic


def unfinished_outputs(paths: Sequence[str | None], force: bool) -> list[str]:
    """Refuse outputs that exist, without `force`, and two that are one; None stands for none.

    `paths` in the order in which they are written: the first ones may exist, if not all do. They
    are returned; whether a killed run of the same command has left them is the caller's to tell.
    """
    given = [path for path in paths if path is not None]
    present = [path for path in given if os.path.lexists(path)]
    is_begun = not force and len(present) < len(given) and present == given[: len(present)]
    left = present if is_begun else []
    atomic.refuse_outputs(given, force=True)
    for path in given[len(left) :]:
        atomic.refuse_existing(path, force)
    return left
