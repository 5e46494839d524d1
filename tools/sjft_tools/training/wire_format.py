"""Protobuf's wire format, read field by field from a file without holding it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """The bytes are no complete message."""


class Field(NamedTuple):
    """A field of a message: its number, its wire type, where it starts, where its value lies."""

    number: int
    wire_type: int
    start: int
    value: int
    end: int


def fields(file: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in the bytes `start` to `end`, which must end with one.

    Raises WireError where the bytes are no field, or where the last one goes beyond `end`.
    """
    at = start
    while at < end:
        tag, value = _varint(file, at, end)
        wire_type = tag & 7
        if wire_type == VARINT:
            after = _varint(file, value, end)[1]
        elif wire_type in _FIXED_SIZE:
            after = value + _FIXED_SIZE[wire_type]
        elif wire_type == BYTES:
            length, value = _varint(file, value, end)
            after = value + length
        else:
            raise WireError(f"unknown wire type {wire_type} at byte {at}")
        if not tag >> 3 or after > end:
            raise WireError(f"the field at byte {at} does not end within the file")
        yield Field(tag >> 3, wire_type, at, value, after)
        at = after


def read_varint(file: BinaryIO, field: Field) -> int:
    """Return the value of a field of the wire type VARINT."""
    return _varint(file, field.value, field.end)[0]


def read_bytes(file: BinaryIO, field: Field) -> bytes:
    """Return the value of a field of the wire type BYTES."""
    file.seek(field.value)
    return file.read(field.end - field.value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a whole field of the wire type BYTES."""
    return _varint_bytes(number << 3 | BYTES) + _varint_bytes(len(value)) + value


def _varint(file: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """Return the varint at byte `at`, and where it ends."""
    file.seek(at)
    value = 0
    for i, byte in enumerate(file.read(min(_LONGEST_VARINT, end - at))):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise WireError(f"no number ends at byte {at}")


def _varint_bytes(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
