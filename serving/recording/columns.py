"""Values in memory as columns of a Parquet file: plain or dictionary encoded, not compressed."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import Kind
from serving.recording.slices import Steps, at_once
from serving.recording.thrift import varint

T = TypeVar("T")
Part: TypeAlias = "bytes | memoryview"

PIECE = 250  # values that Python code looks at in one step
MOST_WORDS = 256  # of a dictionary: an index then has a byte
_WORTH_IT = 4  # values a word, at the least
_FIRST = np.zeros(1, np.uint8)


class Column(NamedTuple):
    """One column's values, encoded."""

    kind: Kind
    length: int  # how many values, nulls and empty lists included
    data: tuple[Part, ...]  # of its data page
    words: tuple[Part, ...] = ()  # of its dictionary, if it has one
    distinct: int = 0


def numbers(values: NDArray[np.float64], missing: NDArray[np.bool_] | None = None) -> Column:
    """Numbers (rows,); null where `missing` says so, if it is given."""
    if missing is None:
        return Column("number", len(values), (same_level(1, len(values)), _raw(values)))
    levels = _levels((~missing).view(np.uint8), len(values), 1)
    return Column("number", len(values), (levels, _raw(values[~missing])))


def each_numbers(values: NDArray[np.float64]) -> Iterator[Column]:
    """What `numbers` makes of each row of a matrix (columns, rows); null is NaN."""
    missing, count = np.isnan(values), values.shape[1]
    absent = np.count_nonzero(missing, axis=1)
    some = np.flatnonzero(absent)
    here = ~missing[some]
    kept = values[some][here].data.cast("B")
    packed = np.packbits(here, axis=1, bitorder="little")
    head = varint(packed.shape[1] << 1 | 1)
    head = (len(head) + packed.shape[1]).to_bytes(4, "little") + head
    levels, start = map(bytes, packed), 0
    for index, none in enumerate(absent.tolist()):
        if none:
            end, level = start + 8 * (count - none), head + next(levels)
            yield Column("number", count, (level if none < count else same_level(0, count), kept[start:end]))
            start = end
        else:
            yield Column("number", count, (same_level(1, count), _raw(values[index])))


def moments(microseconds: NDArray[np.int64]) -> Column:
    """Moments in UTC (rows,), in microseconds since the epoch."""
    return Column("moment", len(microseconds), (same_level(1, len(microseconds)), _raw(microseconds)))


def unlike(values: Sequence[str], here: NDArray[np.uint8] | None = None) -> Steps[Column]:
    """Texts that hardly ever repeat; where `here` is given and 0, there is none, and `values` skip it."""
    parts = yield from _spelled(values)
    return Column("text", _rows(values, here), (_here(values, here), *parts))


def indexed(indices: NDArray[np.uint8], here: NDArray[np.uint8] | None = None) -> Column:
    """Texts as indices into a dictionary of up to 256 words, which stands elsewhere; `here` as above."""
    data = (_here(indices, here), b"\x08", _hybrid(indices, len(indices), 8))
    return Column("text", _rows(indices, here), data)


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
    return Column("text", count, (same_level(1, count), *parts))


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
    levels = same_level(1, count)
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
    if len(distinct) > min(MOST_WORDS, count // _WORTH_IT):
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
    if len(words) > MOST_WORDS:
        return at_once(texts([words[index] for index in indices.tolist()]))
    count = len(indices)
    return _worded(count, same_level(1, count), indices.astype(np.uint8), words)


def constant(value: str | None, count: int) -> Column:
    """The same text `count` times, or null."""
    if value is None:
        return Column("text", count, (same_level(0, count),))
    return _worded(count, same_level(1, count), _FIRST, [value])


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
    return Column("texts", size, (*levels, *strings(items)))


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
        parts += strings(piece)
        yield
    return parts


def _worded(count: int, levels: bytes, indices: NDArray[np.uint8], words: Sequence[str]) -> Column:
    """A column of `indices` into `words`; fewer indices than values mean: the first one, always."""
    width = max(1, (len(words) - 1).bit_length())
    size = count if len(indices) == 1 else len(indices)
    data = (levels, bytes([width]), _hybrid(indices, size, width))
    return Column("text", count, data, strings(words), len(words))


def _rows(values: Sized, here: NDArray[np.uint8] | None) -> int:
    return len(values if here is None else here)


def _here(values: Sized, here: NDArray[np.uint8] | None) -> bytes:
    return same_level(1, len(values)) if here is None else _levels(here, len(here), 1)


@lru_cache(maxsize=256)
def same_level(level: int, count: int) -> bytes:
    """The definition levels of a column that is null nowhere (1) or everywhere (0)."""
    return _levels(np.full(1, level, np.uint8), count, 1)


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
    if width == 8:  # noqa: PLR2004 - bits, of a byte
        return varint(groups << 1 | 1) + values.tobytes().ljust(groups * width, b"\0")
    bits = np.unpackbits(values[:, None], axis=1, count=width, bitorder="little") if width > 1 else values
    packed = np.packbits(bits, axis=None, bitorder="little").tobytes()
    return varint(groups << 1 | 1) + packed.ljust(groups * width, b"\0")


def strings(values: Sequence[str]) -> tuple[Part, ...]:
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
