"""Values in memory as columns of a Parquet file: plain or dictionary encoded, not compressed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import Kind
from serving.recording.slices import Steps, at_once
from serving.recording.thrift import varint

T = TypeVar("T")
Part: TypeAlias = "bytes | memoryview"

PIECE = 250  # values that Python code looks at in one step
_MOST_WORDS = 256  # of a dictionary: an index then has a byte
_WORTH_IT = 4  # values a word, at the least
_ONE = np.ones(1, np.uint8)


@dataclass(frozen=True)
class Column:
    """One column's values, encoded."""

    kind: Kind
    count: int  # of values, nulls and empty lists included
    data: tuple[Part, ...]  # of its data page
    words: tuple[Part, ...] = ()  # of its dictionary, if it has one
    distinct: int = 0


def numbers(values: NDArray[np.float64], missing: NDArray[np.bool_] | None = None) -> Column:
    """Numbers (rows,); null where `missing` says so, if it is given."""
    if missing is None:
        return Column("number", len(values), (_levels(_ONE, len(values), 1), _raw(values)))
    levels = _levels((~missing).view(np.uint8), len(values), 1)
    return Column("number", len(values), (levels, _raw(values[~missing])))


def moments(microseconds: NDArray[np.int64]) -> Column:
    """Moments in UTC (rows,), in microseconds since the epoch."""
    return Column("moment", len(microseconds), (_levels(_ONE, len(microseconds), 1), _raw(microseconds)))


def unlike(values: Sequence[str]) -> Steps[Column]:
    """Texts that hardly ever repeat."""
    parts = yield from _spelled(values)
    return Column("text", len(values), (_levels(_ONE, len(values), 1), *parts))


def numbered(names: Sequence[tuple[str, int]]) -> Column:
    """`NAME/0`, `NAME/1` and on of each of `names`, so many of it as stands beside it."""
    count = sum(many for _, many in names)
    parts: list[Part] = []
    for name, many in names:
        text = np.frombuffer(name.encode(), np.uint8)
        for block in _numbered(len(text), many):
            made = block.copy()
            made[:, 4 : 4 + len(text)] = text
            parts.append(_raw(made))
    return Column("text", count, (_levels(_ONE, count, 1), *parts))


@lru_cache(maxsize=4)  # a caller sends batches of one size
def _numbered(size: int, count: int) -> list[NDArray[np.uint8]]:
    """Room for a name of `size` bytes before each number below `count`, apart for each number of digits."""
    found, start, digits = [], 0, 1
    while start < count:
        numbers = np.arange(start, min(count, 10**digits))
        length = size + 1 + digits
        block = np.zeros((len(numbers), 4 + length), np.uint8)
        block[:, :4] = np.frombuffer(length.to_bytes(4, "little"), np.uint8)
        block[:, 4 + size] = ord("/")
        for digit in range(digits):
            block[:, -1 - digit] = numbers // 10**digit % 10 + ord("0")
        found.append(block)
        start, digits = 10**digits, digits + 1
    return found


def texts(values: Sequence[str | None], null: str | None = None) -> Steps[Column]:
    """Texts, of which `null` is none; what few of them repeat is written once."""
    count, distinct = len(values), set[str | None]()
    for piece in pieces(values):
        distinct.update(piece)
        yield
    levels = _levels(_ONE, count, 1)
    if null in distinct:
        distinct.discard(null)
        if not distinct:
            return constant(None, count)
        here, kept = np.empty(count, np.uint8), list[str | None]()
        for span in spans(count):
            part = [value for value in values[span] if value != null]
            kept += part
            here[span] = 1
            if len(part) < span.stop - span.start:
                here[span] = [value != null for value in values[span]]
            yield
        levels, values = _levels(here, count, 1), kept
        yield
    present: Sequence[str] = values  # type: ignore[assignment]  # joining them finds what is none
    if len(distinct) > min(_MOST_WORDS, count // _WORTH_IT):
        parts = yield from _spelled(present)
        return Column("text", count, (levels, *parts))
    words: Sequence[str] = sorted(distinct)  # type: ignore[arg-type]  # the same
    place = {word: index for index, word in enumerate(words)}.__getitem__
    indices = np.empty(len(present), np.uint8)
    for span in spans(len(present)):
        yield
        indices[span] = np.fromiter(map(place, present[span]), np.uint8, span.stop - span.start)
    yield
    return _worded(count, levels, indices, words)


def chosen(words: Sequence[str], indices: NDArray[np.int64]) -> Column:
    """Texts (rows,), each the one of the few `words` that its index names."""
    if len(words) > _MOST_WORDS:
        return at_once(texts([words[index] for index in indices.tolist()]))
    count = len(indices)
    return _worded(count, _levels(_ONE, count, 1), indices.astype(np.uint8), words)


def constant(value: str | None, count: int) -> Column:
    """The same text `count` times, or null."""
    if value is None:
        return Column("text", count, (_levels(np.zeros(1, np.uint8), count, 1),))
    return _worded(count, _levels(_ONE, count, 1), np.zeros(1, np.uint8), [value])


def lists(values: Iterable[Sequence[str]], count: int) -> Column:
    """A list of texts a row, of `count` rows; one may be empty, and none is null."""
    defined, repeated = bytearray(), bytearray()
    items: list[str] = []
    for value in values:
        defined += b"\x03" * len(value) or b"\x01"  # an item is there; or: the list is, and empty
        repeated += (b"\x00" + b"\x01" * (len(value) - 1)) if value else b"\x00"
        items += value
    if not items:
        defined, repeated = bytearray(b"\x01"), bytearray(1)
    size = len(defined) if items else count
    levels = [
        _levels(np.frombuffer(part, np.uint8), size, most) for part, most in ((repeated, 1), (defined, 3))
    ]
    return Column("texts", size, (*levels, *_strings(items)))


def spans(count: int) -> Iterator[slice]:
    """Of `count` values, as many at a time as are looked at in one step."""
    for start in range(0, count, PIECE):
        yield slice(start, min(start + PIECE, count))


def pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """`values`, so many at a time."""
    return (values[span] for span in spans(len(values)))


def _spelled(values: Sequence[str]) -> Steps[list[Part]]:
    parts: list[Part] = []
    for piece in pieces(values):
        parts += _strings(piece)
        yield
    return parts


def _worded(count: int, levels: bytes, indices: NDArray[np.uint8], words: Sequence[str]) -> Column:
    """A column of `indices` into `words`; fewer indices than values mean: the first one, always."""
    width = max(1, (len(words) - 1).bit_length())
    size = count if len(indices) == 1 else len(indices)
    data = (levels, bytes([width]), _hybrid(indices, size, width))
    return Column("text", count, data, _strings(words), len(words))


def _levels(values: NDArray[np.uint8], count: int, most: int) -> bytes:
    """Definition or repetition levels up to `most`, after their length in bytes."""
    data = _hybrid(values, count, most.bit_length())
    return len(data).to_bytes(4, "little") + data


def _hybrid(values: NDArray[np.uint8], count: int, width: int) -> bytes:
    """Small numbers as one run of the same, or packed to `width` bits each."""
    if len(values) == 0:
        return b""
    if len(values) == 1 or bool((values == values[0]).all()):
        return varint(count << 1) + bytes([values[0]])
    groups = -(-count // 8)  # of eight values
    bits = np.unpackbits(values[:, None], axis=1, count=width, bitorder="little") if width > 1 else values
    packed = np.packbits(bits, axis=None, bitorder="little").tobytes()
    return varint(groups << 1 | 1) + packed.ljust(groups * width, b"\0")


def _strings(values: Sequence[str]) -> tuple[Part, ...]:
    """Each text after its length in four bytes."""
    if not values:
        return ()
    joined, count = "".join(values), len(values)
    data = joined.encode()
    sizes = np.fromiter(map(len, values), np.int64, count)
    if len(data) != len(joined):  # characters of several bytes
        sizes = np.fromiter((len(value.encode()) for value in values), np.int64, count)
    flat = np.frombuffer(data, np.uint8)
    size = int(sizes[0])
    if bool((sizes == size).all()):
        made = np.empty((count, 4 + size), np.uint8)
        made[:, :4] = np.frombuffer(size.to_bytes(4, "little"), np.uint8)
        made[:, 4:] = flat.reshape(count, size)
        return (_raw(made),)
    spread = np.empty(len(data) + 4 * count, np.uint8)
    heads = np.cumsum(sizes) - sizes + 4 * np.arange(count)  # where each length begins
    text = np.ones(len(spread), np.bool_)
    lengths = sizes.astype("<u4").view(np.uint8).reshape(count, 4)
    for byte in range(4):
        text[heads + byte] = False
        spread[heads + byte] = lengths[:, byte]
    spread[text] = flat
    return (_raw(spread),)


def _raw(values: NDArray[Any]) -> Part:
    """The bytes of an array; this machine and the format are little-endian."""
    return np.ascontiguousarray(values).data.cast("B") if values.size else b""
