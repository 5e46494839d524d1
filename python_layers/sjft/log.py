"""What the layers say in the log of training, which is stderr: said where it can be, never a must.

Caffe itself trains on when its log takes nothing more, because the disk is full or the terminal or
the program that read it is gone. So do the layers.
"""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Write the line ``sjft: TEXT`` to the log."""
    if sys.stderr is not None:  # as it is where it was closed
        with contextlib.suppress(OSError, ValueError):
            print(f"sjft: {text}", file=sys.stderr, flush=True)


def flush_streams() -> None:
    """Write out what is held back for stdout and stderr, or a forked child would hold it, too."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
