"""Reading a net as netscope's grammar does, which is narrower than protobuf's text format.

Source: src/caffe/grammar/proto.pegjs of netscope. Whatever it cannot read, or would read as
something else than protobuf does, is a problem with a line and a reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from sjft_tools.nets.text import Word


class Problem(NamedTuple):
    """Why netscope does not show a net, or not as Caffe has it; `line` counts from 1."""

    line: int
    text: str


class GrammarError(ValueError):
    """What netscope's parser stops at; `problem` says where and why."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.problem = Problem(line, text)


@dataclass(frozen=True)
class Field:
    """A field with its value: a string, a number, a bare Word, or the fields of a message."""

    name: str
    value: str | float | list[Field]
    line: int

    @property
    def is_message(self) -> bool:
        """Whether the value is a message."""
        return isinstance(self.value, list)


_SPACE = re.compile(r"[ \t\n\r]*")
_SPACE_OR_COMMENT = re.compile(r"(?:[ \t\n\r]|#[^\n\r\u2028\u2029]*)*")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(
    r"""'((?:[^'\\\x00-\x1f]|\\["'\\/bfnrt]|\\u[0-9a-fA-F]{4})*)'"""
    r'''|"((?:[^"\\\x00-\x1f]|\\["'\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"'''
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

#: What follows -> why netscope stops there.
_WHY_NO_VALUE = (
    (re.compile(r"[+-]?\.[0-9]"), "a number must have a digit before its point"),
    (re.compile(r"\+"), "a number cannot begin with +"),
    (re.compile(r"<"), "a message stands in { }, not in < >"),
    (re.compile(r"\["), "lists in [ ] are unknown: repeat the field"),
    (re.compile(r"#"), "no comment may stand between a field's name and its value"),
)
_WHY_NO_FIELD = (
    (re.compile(r"['\"]"), "strings side by side are not joined: write one string per field"),
    (re.compile(r"[;,]"), "fields are separated by spaces alone, not by ; or ,"),
    (re.compile(r"\."), "a number must have digits on both sides of its point"),
    (re.compile(r"\["), "names in [ ] are unknown"),
    (re.compile(r"[<>]"), "a message stands in { }, not in < >"),
    (re.compile(r"\}"), "this } closes nothing"),
    (re.compile(r"\ufeff"), "the file begins with a byte order mark: save it without"),
)


def read_fields(text: str) -> list[Field]:
    """Return the fields of the net `text`, in order. Raises GrammarError."""
    reader = _Reader(text)
    reader.skip(_SPACE_OR_COMMENT)
    fields = reader.fields(outermost=True)
    if not fields:
        raise GrammarError(reader.line(), "there is no field at all")
    return fields


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted, self._line = 0, 1

    def line(self, at: int | None = None) -> int:
        """The line of a place; places must be asked for in rising order to be found quickly."""
        at = self._at if at is None else at
        if at < self._counted:
            return 1 + self._text.count("\n", 0, at)
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def fields(self, outermost: bool = False) -> list[Field]:
        fields: list[Field] = []
        while True:
            self.skip(_SPACE_OR_COMMENT)
            rest = self._text[self._at : self._at + 1]
            if (outermost and not rest) or (not outermost and rest == "}"):
                return fields
            if not rest:
                raise GrammarError(self.line(), "a { is never closed")
            fields.append(self._field())

    def _field(self) -> Field:
        name, line = _NAME.match(self._text, self._at), self.line()
        if name is None:
            raise self._refusal(_WHY_NO_FIELD, "expected a field's name")
        self._at = name.end()
        self.skip(_SPACE)
        colon = self._text.startswith(":", self._at)
        if colon:
            self._at += 1
            self.skip(_SPACE)
        if self._text.startswith("{", self._at):
            self._at += 1
            inside = self.fields()
            self._at += 1
            return Field(name.group().lower(), inside, line)
        if not colon:
            why = f"expected : or {{ behind '{name.group()}'"
            raise self._refusal(_WHY_NO_VALUE[2:], why)
        return Field(name.group().lower(), self._value(name.group()), line)

    def _value(self, name: str) -> str | float:
        string = _STRING.match(self._text, self._at)
        if string is not None:
            self._at = string.end()
            return _ESCAPE.sub(_unescaped, string.group(1) or string.group(2) or "")
        if self._text[self._at : self._at + 1] in ("'", '"'):
            raise GrammarError(self.line(), _why_no_string(self._text[self._at :]))
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            behind = _NAME.match(self._text, number.end())
            if behind is not None:
                value = number.group() + behind.group()
                raise GrammarError(self.line(), f"{value} is read as {number.group()} and a name")
            self._at = number.end()
            return float(number.group())
        word = _NAME.match(self._text, self._at)
        if word is not None:
            self._at = word.end()
            if self._text.startswith(".", self._at):
                raise self._refusal(_WHY_NO_FIELD, "")
            return Word(word.group())
        raise self._refusal(_WHY_NO_VALUE, f"expected a value of '{name}'")

    def _refusal(
        self, reasons: tuple[tuple[re.Pattern[str], str], ...], otherwise: str
    ) -> GrammarError:
        for pattern, why in reasons:
            if pattern.match(self._text, self._at):
                return GrammarError(self.line(), why)
        found = self._text[self._at : self._at + 10].split("\n")[0]
        return GrammarError(self.line(), f"{otherwise}, got {found!r}")


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)


def _why_no_string(rest: str) -> str:
    """Why `rest`, which begins with a quote, does not begin with a string."""
    body = re.match(r"(['\"])(?:(?!\1)[^\\\n]|\\.)*", rest)
    inside = body.group() if body else rest
    bad = re.search(r"\\(?![\"'\\/bfnrt]|u[0-9a-fA-F]{4})", inside.replace(r"\\", "  "))
    if bad is not None:
        escape = inside[bad.start() : bad.start() + 2]
        return f"the escape {escape} is unknown: JSON's alone are read"
    if re.search(r"[\x00-\x1f]", inside):
        return "a string must not hold a tab or another control character: write \\t"
    return "a string must end on the line on which it begins"
