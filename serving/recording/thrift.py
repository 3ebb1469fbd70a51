"""What Parquet's headers and footer are written in: Thrift's compact protocol, as far as they need it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

Field: TypeAlias = tuple[int, int, bytes]  # its number, its type, its encoded value

_TRUE, _FALSE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 5, 6, 8, 9, 12
END = b"\0"  # of a struct
_SHORT = 15  # a list of fewer items, or a field that is this near to the one before, has a head of one byte


@lru_cache(maxsize=1024)  # a file's headers hold hundreds, most of them the same ones
def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def fields(*given: Field, after: int = 0) -> bytes:
    """Some fields in the order of their numbers, which follow the field numbered `after` of their struct."""
    found, last = bytearray(), after
    for number, kind, value in given:
        if number - last <= _SHORT:
            found.append((number - last) << 4 | kind)
        else:
            found.append(kind)
            found += _zigzag(number)
        found += value
        last = number
    return bytes(found)


def struct(*given: Field) -> bytes:
    """All fields of a struct, in the order of their numbers."""
    return fields(*given) + END


def i32(number: int, value: int) -> Field:
    """A field that holds a number of 32 bits."""
    return number, _I32, _zigzag(value)


def i64(number: int, value: int) -> Field:
    """A field that holds a number of 64 bits."""
    return number, _I64, _zigzag(value)


def flag(number: int, value: bool) -> Field:
    """A field that is true or false."""
    return number, _TRUE if value else _FALSE, b""


def text(number: int, value: str) -> Field:
    """A field that holds a text."""
    return number, _BINARY, _binary(value)


def inner(number: int, value: bytes) -> Field:
    """A field that holds a struct."""
    return number, _STRUCT, value


def i32s(number: int, values: Sequence[int]) -> Field:
    """A field that holds a list of numbers of 32 bits."""
    return number, _LIST, _head(len(values), _I32) + b"".join(map(_zigzag, values))


def texts(number: int, values: Sequence[str]) -> Field:
    """A field that holds a list of texts."""
    return number, _LIST, _head(len(values), _BINARY) + b"".join(map(_binary, values))


def structs(number: int, values: Sequence[bytes], count: int | None = None) -> Field:
    """A field that holds a list of structs; each of `values` is one, or several where there are `count`."""
    return number, _LIST, _head(len(values) if count is None else count, _STRUCT) + b"".join(values)


def _zigzag(value: int) -> bytes:
    """A number that may be negative; small ones of either sign are short."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _binary(value: str) -> bytes:
    data = value.encode()
    return varint(len(data)) + data


def _head(size: int, kind: int) -> bytes:
    return bytes([size << 4 | kind]) if size < _SHORT else bytes([0xF0 | kind]) + varint(size)
