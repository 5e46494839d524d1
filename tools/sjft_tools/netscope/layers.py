"""From a net's text to the layers that netscope shows: TRAIN's, with fields as it merges them.

Source: src/caffe/caffe.coffee of netscope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sjft_tools.nets.text import Word
from sjft_tools.netscope.grammar import Field, Problem


@dataclass(frozen=True)
class ShownLayer:
    """A layer; `params` are its other fields, as merged() makes them."""

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    params: dict[str, Any]
    line: int

    @property
    def in_place(self) -> bool:
        """Whether netscope takes the layer for one that writes over the blob that it reads."""
        return len(self.tops) == 1 and self.tops == self.bottoms


def merged(fields: list[Field]) -> dict[str, Any]:
    """A message as netscope has it: repeated fields become a list, words are in lower case.

    But what stands before a message inside is forgotten when the field comes again behind it.
    """
    result: dict[str, Any] = {}
    for run in _runs(fields):
        values: dict[str, Any] = {}
        for field in run:
            value = _plain(field)
            if field.name in values:
                before = values[field.name]
                value = [*(before if isinstance(before, list) else [before]), value]
            values[field.name] = value
        result.update(values)
    return result


def lost_fields(fields: list[Field]) -> Iterator[Problem]:
    """Name the fields that merged() forgets, in `fields` and in the messages inside."""
    seen: set[str] = set()
    for run in _runs(fields):
        if not run[0].is_message:
            for again in dict.fromkeys(field.name for field in run):
                if again in seen:
                    line = next(field.line for field in run if field.name == again)
                    text = f"'{again}' comes again behind a message: netscope forgets those before"
                    yield Problem(line, f"{text} it, so write them side by side")
            seen.update(field.name for field in run)
        else:
            yield from lost_fields(_inside(run[0]))


def shown_layers(fields: list[Field]) -> list[ShownLayer]:
    """The layers that netscope shows of a net's `fields`: all but those of TEST alone."""
    layers = []
    for field in fields:
        if field.name not in ("layer", "layers") or not field.is_message:
            continue
        params = merged(_inside(field))
        include = params.get("include")
        phase = include.get("phase") if isinstance(include, dict) else None
        if phase not in (None, "train"):
            continue
        head = {key: params.pop(key, None) for key in ("name", "type", "bottom", "top")}
        layers.append(
            ShownLayer(
                _text(head["name"]),
                _text(head["type"]),
                _list(head["bottom"]),
                _list(head["top"]),
                params,
                field.line,
            )
        )
    return layers


def _runs(fields: list[Field]) -> Iterator[list[Field]]:
    """Cut `fields` into messages, one each, and stretches without any."""
    for is_message, run in groupby(fields, lambda field: field.is_message):
        if is_message:
            yield from ([field] for field in run)
        else:
            yield list(run)


def _inside(field: Field) -> list[Field]:
    return field.value if isinstance(field.value, list) else []


def _plain(field: Field) -> Any:
    if isinstance(field.value, list):
        return merged(field.value)
    return str(field.value).lower() if isinstance(field.value, Word) else field.value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
