"""Columns as a Parquet file of one row group.

A library that does it takes 25 MB, a pool of threads and a microsecond a row from a service that answers on
one core. What a log needs of the format is little: four kinds of columns, each of which may be null.
https://parquet.apache.org/docs/file-format/
"""

from collections.abc import Sequence
from functools import lru_cache

from contract.log_layout import Kind
from serving.recording import pages, thrift
from serving.recording.columns import Column, Part
from serving.recording.pages import Chunk
from serving.recording.slices import Steps, at_once
from serving.recording.thrift import i32, i64

MAGIC = b"PAR1"
_INT64, _DOUBLE, _BYTE_ARRAY = 2, 5, 6  # physical types
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_UTF8, _LIST, _TIMESTAMP_MICROS = 0, 3, 10  # converted types
_STRING, _LISTED, _TIMESTAMP = 1, 3, 8  # fields of the union of logical types
_CHUNK = thrift.fields(i64(2, 0)) + b"\x1c"  # a column's part of the footer, up to what is said about it
_TOGETHER = 12  # columns of one step
_ITEM = ("list", "element")  # below a column of lists


def file(columns: Sequence[tuple[str, Column | Chunk]], rows: int) -> list[Part]:
    """The parts of the file that holds `columns`, each with its name.

    Raises:
        ValueError: one has another number of rows.
    """
    return at_once(steps(columns, rows))


def steps(columns: Sequence[tuple[str, Column | Chunk]], rows: int) -> Steps[list[Part]]:
    """The same, step by step."""
    for name, column in columns:
        if column.length < rows or (column.length > rows and column.kind != "texts"):
            raise ValueError(f"{name} has {column.length} values for {rows} rows")
    parts: list[Part] = [MAGIC]
    position, chunks = len(MAGIC), []
    for place, (name, column) in enumerate(columns):
        if place % _TOGETHER == 0:
            yield
        whole = pages.chunk(column) if isinstance(column, Column) else column
        start, words = position, pages.dictionary(whole.words, whole.distinct) if whole.words else ()
        parts += words
        first = position + sum(map(len, words))
        for page in whole.pages:
            parts += page.parts
        position = first + sum(page.size for page in whole.pages)
        places = [i64(9, first), *((i64(11, start),) if words else ())]
        encoding = pages.DICTIONARY if words else pages.PLAIN
        about = _described(name, whole.kind, encoding) + _sized(whole.length, position - start)
        chunks.append(_CHUNK + about + thrift.fields(*places, after=7) + thrift.END * 2)
    yield
    footer = _footer(columns, rows, chunks, position - len(MAGIC))
    return [*parts, footer, len(footer).to_bytes(4, "little"), MAGIC]


# The names of all files of a model are the same, and most columns of a file have the same sizes.
@lru_cache(maxsize=4096)
def _described(name: str, kind: Kind, encoding: int) -> bytes:
    """What the footer says about a column, up to the number of its values."""
    physical = {"number": _DOUBLE, "moment": _INT64}.get(kind, _BYTE_ARRAY)
    return thrift.fields(
        i32(1, physical),
        thrift.i32s(2, sorted({pages.PLAIN, pages.RLE, encoding})),
        thrift.texts(3, [name, *(_ITEM if kind == "texts" else ())]),
        i32(4, 0),  # not compressed
    )


@lru_cache(maxsize=256)
def _sized(count: int, size: int) -> bytes:
    """And after that, up to where its pages are."""
    return thrift.fields(i64(5, count), i64(6, size), i64(7, size), after=4)


def _footer(
    columns: Sequence[tuple[str, Column | Chunk]], rows: int, chunks: list[bytes], size: int
) -> bytes:
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
