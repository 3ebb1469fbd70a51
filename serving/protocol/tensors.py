"""Tensors as the Open Inference Protocol V2 carries them: flat values, a shape and the name of a datatype."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.http.bodies import RefusedError
from serving.rows import NAME_LENGTH, Problem

T = TypeVar("T")
Floats: TypeAlias = NDArray[np.float32]

FP32, BYTES, INT64 = "FP32", "BYTES", "INT64"  # the last one for keys alone
MOST_AXES = 2
_SIZES = {FP32: 4, INT64: 8}  # bytes of an element
_LENGTH = struct.Struct("<I")  # before each element of BYTES


@dataclass(frozen=True)
class Tensor:
    """One input: `values` row by row, float32, strings or whole numbers as the datatype says."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: "Floats | list[str] | list[int | None]"


def wrong(field: str, found: str, expected: str, status: int = 422) -> RefusedError:
    """The refusal of one thing about a request."""
    return RefusedError(
        status, f"{field}: found {found}; expected {expected}", [Problem(field, found, expected)]
    )


def check_head(name: str, datatype: str, shape: Sequence[int]) -> int:
    """How many elements a tensor declares, once its datatype is known and its shape can be meant.

    Raises:
        RefusedError: 422.
    """
    place = f"inputs '{name[:NAME_LENGTH]}'"
    if datatype not in (FP32, BYTES, INT64):
        raise wrong(place, f"the datatype '{datatype[:NAME_LENGTH]}'", f"{FP32}, {BYTES} or {INT64}")
    if not 1 <= len(shape) <= MOST_AXES or any(size < 0 for size in shape):
        text = str(list(shape[:4])) if len(shape) <= MOST_AXES else f"{len(shape)} axes"
        raise wrong(place, f"the shape {text}", "[rows, width]")
    return math.prod(shape)


def check_count(name: str, found: int, expected: int) -> None:
    """Refuse values that are not as many as the shape says.

    Raises:
        RefusedError: 422.
    """
    if found != expected:
        raise wrong(f"inputs '{name[:NAME_LENGTH]}'", f"{found} values", f"{expected}, as its shape says")


def from_bytes(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview) -> Tensor:
    """A tensor out of its binary form: little-endian numbers, or each string after its length in 4 bytes.

    Raises:
        RefusedError: 422, the bytes are not what shape and datatype say.
    """
    count = check_head(name, datatype, shape)
    if datatype == BYTES:
        strings = split_strings(name, bytes(data))
        check_count(name, len(strings), count)
        return Tensor(name, datatype, tuple(shape), strings)
    size = _SIZES[datatype] * count
    if len(data) != size:
        raise wrong(f"inputs '{name[:NAME_LENGTH]}'", f"{len(data)} bytes", f"{size}, as its shape says")
    if datatype == INT64:
        return Tensor(name, datatype, tuple(shape), np.frombuffer(data, dtype="<i8").tolist())
    return Tensor(name, datatype, tuple(shape), np.frombuffer(data, dtype="<f4"))


def from_json(name: str, datatype: str, shape: Sequence[int], data: bytes | msgspec.Raw) -> Tensor:
    """A tensor out of a JSON array, flat or nested as its shape is; null is missing.

    Raises:
        RefusedError: 422, the array is not what shape and datatype say.
    """
    count = check_head(name, datatype, shape)
    text, width = bytes(data), shape[1] if len(shape) == MOST_AXES else 1
    try:
        if datatype == FP32:
            numbers = _decode(text, list[float | None], list[list[float | None]], width)
            check_count(name, len(numbers), count)
            return Tensor(name, datatype, tuple(shape), floats(numbers))
        if datatype == INT64:
            whole = _decode(text, list[int | None], list[list[int | None]], width)
            check_count(name, len(whole), count)
            return Tensor(name, datatype, tuple(shape), whole)
        strings = _decode(text, list[str | None], list[list[str | None]], width)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:NAME_LENGTH]
        what = {FP32: "numbers", INT64: "whole numbers"}.get(datatype, "strings")
        raise wrong(
            f"inputs '{name[:NAME_LENGTH]}', data",
            f"something else ({reason})",
            f"an array of {what}, flat or [rows, width]",
        ) from None
    check_count(name, len(strings), count)
    return Tensor(name, datatype, tuple(shape), [value or "" for value in strings])


def floats(values: Sequence[float | None]) -> Floats:
    """Numbers as float32; None is NaN, and what does not fit is infinite, which no row may be."""
    plain = [math.nan if value is None else value for value in values] if None in values else values
    with np.errstate(over="ignore"):
        return np.array(plain, dtype=np.float64).astype(np.float32)


def text_of(name: str, values: Sequence[bytes]) -> list[str]:
    """The strings that elements of BYTES are.

    Raises:
        RefusedError: 422, one is not UTF-8.
    """
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise wrong(f"inputs '{name[:NAME_LENGTH]}'", "bytes that are no UTF-8", "UTF-8 text") from None


def split_strings(name: str, data: bytes) -> list[str]:
    """The strings in the binary form of a BYTES tensor.

    Raises:
        RefusedError: 422, a length reaches beyond the end, or an element is not UTF-8.
    """
    if (short := _split_short(data)) is not None:
        return short
    found: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        start = position + 4
        if start > end:
            raise wrong(f"inputs '{name[:NAME_LENGTH]}'", "bytes that end within a length", "4 bytes of it")
        position = start + _LENGTH.unpack_from(data, position)[0]
        found.append(data[start:position])
    if position != end:
        raise wrong(
            f"inputs '{name[:NAME_LENGTH]}'", "a string that ends too early", "as many bytes as it says"
        )
    return text_of(name, found)


def _split_short(data: bytes) -> list[str] | None:
    """The same of short ASCII texts, as categories are, in half the time; None of anything else.

    Of a length under 128 three bytes are zero, so that they stand between the texts, each of which ends with
    the first byte of the next one's length.
    """
    if not data.isascii():
        return None
    first, *others = data.decode("ascii").split("\0\0\0")
    if len(first) != 1 or not others or not all(others):
        return None
    last = others.pop()
    known = {piece: (piece[:-1], len(piece) - 1, ord(piece[-1])) for piece in set(others)}
    found, length = [], ord(first)
    for text, size, following in map(known.__getitem__, others):
        if size != length:
            return None
        found.append(text)
        length = following
    found.append(last)
    return found if len(last) == length else None


def join_strings(values: Sequence[str]) -> bytes:
    """Strings in the binary form of a BYTES tensor."""
    known = {}
    for value in set(values):
        data = value.encode()
        known[value] = _LENGTH.pack(len(data)) + data
    return b"".join(map(known.__getitem__, values))


def _decode(text: bytes, flat: type[list[T]], nested: type[list[list[T]]], width: int) -> list[T]:
    """The elements of a JSON array, or of an array of arrays that are each `width` long."""
    if text[1:].lstrip()[:1] != b"[":
        return msgspec.json.decode(text, type=flat)
    rows = msgspec.json.decode(text, type=nested)
    if any(len(row) != width for row in rows):
        raise msgspec.DecodeError(f"rows that are not {width} wide")
    return [value for row in rows for value in row]
