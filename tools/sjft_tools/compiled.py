"""Functions compiled by numba. Importing this module raises ImportError where there is none."""

from __future__ import annotations

from typing import Any, Callable

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called, or load what an earlier process compiled.

    It gives up Python's lock, so that threads run it side by side.
    """
    return _compiled(function)


def compiled_in_any_order(function: Callable[..., Any]) -> Any:
    """Compile `function` so that its sums may be added up in any order, several at a time."""
    return _compiled(function, fastmath={"reassoc", "contract", "nsz"})


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(nogil=True, **options)(function)
