"""Nets and solvers in protobuf's text format, laid out as a person would write them.

A message is a dict in the order of its fields; a list is a repeated field, a dict a message inside,
a `Word` the name of an enum's value. What is written here opens in netscope as well, whose grammar
is narrower than protobuf's: one string per field, numbers with a digit before the point, only the
escapes that JSON knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Union

Message = dict[str, Any]
# A net is a list of layers with comments (plain strings, one or more lines) between them.
Item = Union[Message, str]

ONE_LINE = 60  # longest message without messages inside that stays on one line, in columns


class Word(str):
    """The name of an enum's value (TRAIN, MAX, SUM): written without quotes."""


def quoted(text: str) -> str:
    """`text` as a string of protobuf's text format; in single quotes where it holds double ones."""
    quote = "'" if '"' in text else '"'
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace(quote, "\\" + quote)
    return quote + escaped + quote


def scalar(value: str | bool | int | float) -> str:
    """One value of a field: a word, a string, true/false or a number."""
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def fields(message: Message) -> Iterable[tuple[str, Any]]:
    """The fields of a message in order, each element of a repeated field on its own."""
    for key, value in message.items():
        for element in value if isinstance(value, list) else [value]:
            yield key, element


def message_lines(key: str, message: Message, indent: str = "") -> list[str]:
    """`key { ... }`: on one line if short and without messages inside, else one field a line."""
    members = list(fields(message))
    if not any(isinstance(value, dict) for _, value in members):
        inside = " ".join(f"{name}: {scalar(value)}" for name, value in members)
        if indent and len(key) + len(inside) + 5 <= ONE_LINE:
            return [f"{indent}{key} {{ {inside} }}"]
    lines = [f"{indent}{key} {{"]
    for name, value in members:
        if isinstance(value, dict):
            lines += message_lines(name, value, indent + "  ")
        else:
            lines.append(f"{indent}  {name}: {scalar(value)}")
    return [*lines, indent + "}"]


def comment_lines(comment: str) -> list[str]:
    """A comment of one or more lines, each behind a `#`."""
    return [f"# {line}".rstrip() for line in comment.splitlines()]


def header_lines(header: str, command: str) -> list[str]:
    """The comment that opens a file; `command` is what wrote it."""
    return comment_lines(f"{header}\nWritten by `{command}`.")


def net_text(name: str, header: str, items: Iterable[Item], command: str = "sjft prototxt") -> str:
    """A net: the comment `header`, the net's name, then layers and comments in order."""
    lines = [*header_lines(header, command), f"name: {quoted(name)}"]
    for item in items:
        lines += comment_lines(item) if isinstance(item, str) else message_lines("layer", item)
    return "\n".join(lines) + "\n"


def settings_text(
    header: str, groups: Iterable[tuple[str, Message]], command: str = "sjft prototxt"
) -> str:
    """A solver: the comment `header`, then groups of settings, each below its reason."""
    lines = header_lines(header, command)
    for comment, settings in groups:
        lines += comment_lines(comment)
        lines += [f"{key}: {scalar(value)}" for key, value in fields(settings)]
    return "\n".join(lines) + "\n"
