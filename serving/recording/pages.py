"""Encoded values as data pages of a Parquet file, the same wherever in the file they come to stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from contract.log_layout import Kind
from serving.recording import thrift
from serving.recording.columns import Column, Part
from serving.recording.thrift import i32

PLAIN, RLE, DICTIONARY = 0, 3, 8  # encodings
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2


class Page(NamedTuple):
    """Some of a column's values."""

    length: int  # how many values, nulls and empty lists included
    size: int  # bytes
    parts: tuple[Part, ...]  # its head and its data

    def joined(self) -> "Page":
        """The same in one part: what is done for each part costs more than a copy."""
        return Page(self.length, self.size, (b"".join(self.parts),))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in pages; those that hold indices mean the words of one dictionary."""

    kind: Kind
    pages: Sequence[Page]
    words: tuple[Part, ...] = ()
    distinct: int = 0

    @property
    def length(self) -> int:
        """How many values."""
        return sum(page.length for page in self.pages)


def chunk(column: Column) -> Chunk:
    """The column in one page."""
    return Chunk(column.kind, [page(column)], column.words, column.distinct)


def page(column: Column, *, worded: bool = False) -> Page:
    """All of a column; its values are indices if it has a dictionary or is `worded` by another's."""
    size = sum(map(len, column.data))
    encoding = DICTIONARY if worded or column.words else PLAIN
    head = _sizes(_DATA_PAGE, size) + _about(column.length, encoding)
    return Page(column.length, len(head) + size, (head, *column.data))


def dictionary(words: Sequence[Part], distinct: int) -> tuple[Part, ...]:
    """The page of a column's words, of which there are so many."""
    size = sum(map(len, words))
    about = thrift.inner(7, thrift.struct(i32(1, distinct), i32(2, PLAIN)))
    return (_sizes(_DICTIONARY_PAGE, size) + thrift.fields(about, after=3) + thrift.END, *words)


@lru_cache(maxsize=1024)  # most pages have the size of others
def _sizes(kind: int, size: int) -> bytes:
    """The beginning of a page's head; a page is not compressed."""
    return thrift.fields(i32(1, kind), i32(2, size), i32(3, size))


@lru_cache(maxsize=256)
def _about(count: int, encoding: int) -> bytes:
    """And its end, of a data page."""
    levels = (i32(3, RLE), i32(4, RLE))
    about = thrift.inner(5, thrift.struct(i32(1, count), i32(2, encoding), *levels))
    return thrift.fields(about, after=3) + thrift.END
