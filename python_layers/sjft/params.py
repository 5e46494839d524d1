"""``param_str`` as data: one line of JSON, checked against a specification, never evaluated."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Callable, NamedTuple

from sjft.errors import InputError, did_you_mean


class Kind(NamedTuple):
    """A kind of value: what is expected, in words, and the test that a JSON value must pass."""

    expected: str
    accepts: Callable[[Any], bool]


class Param(NamedTuple):
    """One key of a ``param_str``. `default` is REQUIRED or what stands when it is left out."""

    kind: Kind
    default: Any


_MOST = sys.float_info.max  # an integer beyond it would be no float
_MOST_DIGITS = 4300  # as Python 3.11 has it; older ones, which take any number, slow down on them

_MOST_SHOWN = 40  # characters

#: Marks a key that must be given.
REQUIRED = object()


def _within(value: Any, minimum: float | None, maximum: float | None) -> bool:
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _range_words(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    return f" of at most {maximum}" if maximum is not None else ""


def integer(minimum: int | None = None, maximum: int | None = None) -> Kind:
    """An integer within bounds; true and false are not integers."""
    return Kind(
        "an integer" + _range_words(minimum, maximum),
        lambda v: type(v) is int and _within(v, minimum, maximum),
    )


def number(minimum: float | None = None, maximum: float | None = None) -> Kind:
    """A finite integer or float within bounds: JSON's 1e400 would be infinite."""
    return Kind(
        "a number" + _range_words(minimum, maximum),
        lambda v: type(v) in (int, float) and abs(v) <= _MOST and _within(v, minimum, maximum),
    )


def boolean() -> Kind:
    """true or false."""
    return Kind("true or false", lambda v: type(v) is bool)


def text() -> Kind:
    """A string that is not empty."""
    return Kind("a string that is not empty", lambda v: type(v) is str and v != "")


def one_of(*words: str) -> Kind:
    """One of a few strings."""
    choices = " or ".join(f'"{word}"' for word in words)
    return Kind(choices, lambda v: type(v) is str and v in words)


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of `length` values, or of one at least, each of `kind`."""
    many = "one or more values" if length is None else f"{length} values"
    return Kind(
        f"a list of {many}, each {kind.expected}",
        lambda v: (
            type(v) is list
            and (len(v) >= 1 if length is None else len(v) == length)
            and all(kind.accepts(x) for x in v)
        ),
    )


def either(*kinds: Kind) -> Kind:
    """A value of any of `kinds`."""
    return Kind(" or ".join(k.expected for k in kinds), lambda v: any(k.accepts(v) for k in kinds))


def nothing() -> Kind:
    """JSON's null."""
    return Kind("null", lambda v: v is None)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"the key {key!r} stands twice, expected once")
    return dict(pairs)


def _int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer of more than {_MOST_DIGITS} digits")
    return int(digits)


def _no_constant(word: str) -> Any:
    raise InputError(f"{word} is not a number that JSON knows")


def _excerpt(error: json.JSONDecodeError) -> str:
    """Return the beginning of the text in which a JSON error was found, and what may be wrong."""
    text = error.doc[error.pos :]
    hint = ""
    if error.msg == "Expecting value":  # as for Python's True, None and 'text'
        hint = "; JSON knows true, false, null, and text in double quotes"
    return (repr(text[:_MOST_SHOWN]) if text else "its end") + hint


def parse_params(param_str: str, spec: Mapping[str, Param], layer: str) -> SimpleNamespace:
    """Parse and check a layer's ``param_str``.

    `spec` maps each key to its Param; `layer` is the layer's class name, for the messages. Returns
    a namespace with one attribute per key of `spec`. Raises InputError: the JSON is invalid, a key
    is unknown (the nearest valid one is named), missing, or has a value of the wrong kind.
    """
    try:
        given = json.loads(
            param_str or "{}",
            object_pairs_hook=_unique_keys,
            parse_int=_int,
            parse_constant=_no_constant,
        )
    except InputError as error:
        raise InputError(f"{layer}: param_str is not valid: {error}") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{layer}: param_str is not valid JSON ({error.msg.removesuffix(' at')} at character "
            f"{error.pos + 1}, {_excerpt(error)}): expected one line like "
            f'{{"{next(iter(spec), "key")}": ...}}'
        ) from None
    except (ValueError, RecursionError) as error:
        # a number of thousands of digits, or brackets nested past Python's limit
        raise InputError(f"{layer}: param_str is not usable JSON: {error}") from None
    if type(given) is not dict:
        raise InputError(f"{layer}: param_str must be a JSON object {{...}}, got {param_str!r}")
    for key in given:
        if key not in spec:
            hint = did_you_mean(key, spec) or f"; the keys are {', '.join(spec)}"
            raise InputError(f"{layer}: param_str has the unknown key {key!r}{hint}")
    values = {}
    for key, param in spec.items():
        if key in given and not param.kind.accepts(given[key]):
            raise InputError(
                f"{layer}: '{key}' must be {param.kind.expected}, got {json.dumps(given[key])}"
            )
        if key not in given and param.default is REQUIRED:
            raise InputError(
                f"{layer}: param_str lacks the key '{key}': expected {param.kind.expected}"
            )
        values[key] = given.get(key, param.default)
    return SimpleNamespace(**values)
