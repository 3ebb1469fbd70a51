"""Columns in memory as a Parquet file: plain or dictionary encoded, one row group, not compressed.

A library that does it takes 25 MB, a pool of threads and a microsecond a row from a service that answers on
one core. What a log needs of the format is little: four kinds of columns, each of which may be null.
https://parquet.apache.org/docs/file-format/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import Kind
from serving.recording import thrift
from serving.recording.thrift import i32, i64, varint

Part: TypeAlias = "bytes | memoryview"

MAGIC = b"PAR1"
_INT64, _DOUBLE, _BYTE_ARRAY = 2, 5, 6  # physical types
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_UTF8, _LIST, _TIMESTAMP_MICROS = 0, 3, 10  # converted types
_STRING, _LISTED, _TIMESTAMP = 1, 3, 8  # fields of the union of logical types
_PLAIN, _RLE, _DICTIONARY = 0, 3, 8  # encodings
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_CHUNK = thrift.fields(i64(2, 0)) + b"\x1c"  # a column's part of the footer, up to what is said about it
_ITEM = ("list", "element")  # below a column of lists
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


def unlike(values: Sequence[str]) -> Column:
    """Texts that hardly ever repeat."""
    return Column("text", len(values), (_levels(_ONE, len(values), 1), *_strings(values)))


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


def texts(values: Sequence[str | None], null: str | None = None) -> Column:
    """Texts, of which `null` is none; what few of them repeat is written once."""
    count, distinct = len(values), dict.fromkeys(values)
    levels = _levels(_ONE, count, 1)
    if null in distinct:
        del distinct[null]
        if not distinct:
            return constant(None, count)
        here = np.fromiter((value != null for value in values), np.uint8, count)
        levels, values = _levels(here, count, 1), [value for value in values if value != null]
    present: Sequence[str] = values  # type: ignore[assignment]  # joining them finds what is none
    words: Sequence[str] = list(distinct)  # type: ignore[arg-type]  # the same
    if len(words) > min(_MOST_WORDS, count // _WORTH_IT):
        return Column("text", count, (levels, *_strings(present)))
    index = {word: place for place, word in enumerate(words)}
    indices = np.fromiter(map(index.__getitem__, present), np.uint8, len(present))
    return _worded(count, levels, indices, words)


def chosen(words: Sequence[str], indices: NDArray[np.int64]) -> Column:
    """Texts (rows,), each the one of the few `words` that its index names."""
    if len(words) > _MOST_WORDS:
        return texts([words[index] for index in indices.tolist()])
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


def file(columns: Sequence[tuple[str, Column]], rows: int) -> list[Part]:
    """The parts of the file that holds `columns`, each with its name."""
    parts: list[Part] = [MAGIC]
    position, chunks = len(MAGIC), []
    for name, column in columns:
        start, pages = position, []
        if column.words:
            size = _size(column.words)
            pages = [_dictionary_head(size, column.distinct), *column.words]
            position += len(pages[0]) + size
        encoding = _DICTIONARY if column.words else _PLAIN
        size = _size(column.data)
        head = _data_head(size, column.count, encoding)
        end = position + len(head) + size
        places = [i64(9, position), *((i64(11, start),) if column.words else ())]
        about = _described(name, column.kind, encoding) + _sized(column.count, end - start)
        chunks.append(_CHUNK + about + thrift.fields(*places, after=7) + thrift.END * 2)
        parts += (*pages, head, *column.data)
        position = end
    footer = _footer(columns, rows, chunks, position - len(MAGIC))
    return [*parts, footer, len(footer).to_bytes(4, "little"), MAGIC]


# Most columns of a file have the same sizes, and those of all files of a model the same names.
@lru_cache(maxsize=256)
def _data_head(size: int, count: int, encoding: int) -> bytes:
    """What stands before the data page of a column."""
    levels = (i32(3, _RLE), i32(4, _RLE))
    about = thrift.inner(5, thrift.struct(i32(1, count), i32(2, encoding), *levels))
    return thrift.struct(i32(1, _DATA_PAGE), i32(2, size), i32(3, size), about)


@lru_cache(maxsize=256)
def _dictionary_head(size: int, words: int) -> bytes:
    """What stands before the dictionary of a column."""
    about = thrift.inner(7, thrift.struct(i32(1, words), i32(2, _PLAIN)))
    return thrift.struct(i32(1, _DICTIONARY_PAGE), i32(2, size), i32(3, size), about)


@lru_cache(maxsize=4096)
def _described(name: str, kind: Kind, encoding: int) -> bytes:
    """What the footer says about a column, up to the number of its values."""
    physical = {"number": _DOUBLE, "moment": _INT64}.get(kind, _BYTE_ARRAY)
    return thrift.fields(
        i32(1, physical),
        thrift.i32s(2, sorted({_PLAIN, _RLE, encoding})),
        thrift.texts(3, [name, *(_ITEM if kind == "texts" else ())]),
        i32(4, 0),  # not compressed
    )


@lru_cache(maxsize=256)
def _sized(count: int, size: int) -> bytes:
    """And after that, up to where its pages are."""
    return thrift.fields(i64(5, count), i64(6, size), i64(7, size), after=4)


def _footer(columns: Sequence[tuple[str, Column]], rows: int, chunks: list[bytes], size: int) -> bytes:
    schema = [thrift.struct(thrift.text(4, "schema"), i32(5, len(columns)))]
    schema += [_declared(name, column.kind) for name, column in columns]
    group = thrift.struct(thrift.structs(1, chunks), i64(2, size), i64(3, rows))
    return thrift.struct(
        i32(1, 1),
        thrift.structs(2, schema, sum(3 if column.kind == "texts" else 1 for _, column in columns) + 1),
        i64(3, rows),
        thrift.structs(4, [group]),
        thrift.text(6, "flightline"),
    )


@lru_cache(maxsize=4096)
def _declared(name: str, kind: Kind) -> bytes:
    """The elements of the schema that one column is: one, or three of a column of lists."""
    empty = thrift.struct()
    if kind == "number":
        return thrift.struct(i32(1, _DOUBLE), i32(3, _OPTIONAL), thrift.text(4, name))
    if kind == "moment":
        unit = thrift.inner(2, thrift.struct(thrift.inner(2, empty)))  # microseconds
        logical = thrift.struct(thrift.inner(_TIMESTAMP, thrift.struct(thrift.flag(1, True), unit)))
        declared = (i32(1, _INT64), i32(3, _OPTIONAL), thrift.text(4, name), i32(6, _TIMESTAMP_MICROS))
        return thrift.struct(*declared, thrift.inner(10, logical))
    utf8 = (i32(6, _UTF8), thrift.inner(10, thrift.struct(thrift.inner(_STRING, empty))))
    string = (i32(1, _BYTE_ARRAY), i32(3, _OPTIONAL))
    if kind == "text":
        return thrift.struct(*string, thrift.text(4, name), *utf8)
    listed = thrift.inner(10, thrift.struct(thrift.inner(_LISTED, empty)))
    return (
        thrift.struct(i32(3, _OPTIONAL), thrift.text(4, name), i32(5, 1), i32(6, _LIST), listed)
        + thrift.struct(i32(3, _REPEATED), thrift.text(4, _ITEM[0]), i32(5, 1))
        + thrift.struct(*string, thrift.text(4, _ITEM[1]), *utf8)
    )


def _size(parts: Iterable[Part]) -> int:
    return sum(map(len, parts))


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
    bits = values[:, None] >> np.arange(width, dtype=np.uint8) & 1 if width > 1 else values
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
