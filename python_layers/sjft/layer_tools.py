"""What every Python layer needs: errors that reach the user, and lists of its blobs."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

from sjft.command_line import is_embedded
from sjft.errors import InputError
from sjft.log import say


@contextlib.contextmanager
def reported(layer: Any) -> Iterator[None]:
    """Put the layer's class name before the text of an InputError; make every error seen.

    Debian's caffe command aborts without a word when a Python layer raises, so that what is wrong
    has to be said before.
    """
    name = type(layer).__name__
    try:
        yield
    except InputError as error:
        text = str(error) if str(error).startswith(name) else f"{name}: {error}"
        if is_embedded():
            say(f"error: {text}")
        raise InputError(text) from None
    except Exception:
        if is_embedded():
            traceback.print_exc()
        raise


def blobs(vector: Any) -> list[Any]:
    """Return the blobs of a layer's bottoms or tops; pycaffe's own type knows indices only."""
    return [vector[i] for i in range(len(vector))]
