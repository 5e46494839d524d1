"""Reading MATLAB's .mat files through SciPy."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from sjft.errors import InputError


def read_mat(content: bytes, where: str, variable: str) -> np.ndarray:
    """Return the array `variable` of a .mat file's `content`; `where` names the file in messages.

    MATLAB's structs become record arrays, cells arrays of objects, both flat. Raises InputError if
    the file is none that SciPy reads, holds no such variable, or SciPy is missing.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(
            f"reading {where} needs SciPy: pip install 'sjft[mat]', or scipy"
        ) from None
    variables: dict[str, Any]
    try:
        variables = loadmat(io.BytesIO(content), squeeze_me=False)
    except NotImplementedError:
        raise InputError(
            f"{where} is a .mat file of version 7.3: expected the published one, of version 5; in "
            f"MATLAB, save it with -v7"
        ) from None
    except Exception as error:
        # SciPy raises whatever its parser stumbles over
        raise InputError(f"{where} cannot be read as a .mat file: {error}") from None
    if variable not in variables:
        names = ", ".join(name for name in variables if not name.startswith("__")) or "nothing"
        raise InputError(f"{where} holds {names}: expected the variable {variable}")
    return np.asarray(variables[variable]).reshape(-1)


def integers(array: np.ndarray, name: str, low: int, high: int) -> np.ndarray:
    """Return `array` as int64. Raises InputError unless its numbers are integers in [low, high].

    `name` says in the message what they are.
    """
    if not array.size:
        raise InputError(f"{name} is empty: expected integers {low} to {high}")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} holds {array.dtype} values: expected integers {low} to {high}")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    wrong = (whole != array) | (whole < low) | (whole > high)
    if wrong.any():
        raise InputError(
            f"{name} holds {array[wrong][0]} at position {int(wrong.argmax()) + 1}: expected "
            f"integers {low} to {high}"
        )
    return whole


def numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Return a flat cell array's numbers, (N,). Raises InputError if it holds anything else."""
    for value in array:
        if np.size(value) != 1 or np.asarray(value).dtype.kind not in "iuf":
            raise InputError(f"{name} holds {value!r}: expected numbers")
    return np.array([np.asarray(value).item() for value in array])


def strings(array: np.ndarray, name: str) -> list[str]:
    """Return a flat cell array's texts. Raises InputError if it holds anything else."""
    texts = []
    for value in array:
        value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        if not isinstance(value, str):
            raise InputError(f"{name} holds {value!r}: expected texts")
        texts.append(str(value))
    return texts
