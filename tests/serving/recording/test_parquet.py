"""Segments are written without a table library, and every table library reads in them what was written."""

import io
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recording import columns, parquet, thrift
from serving.recording.slices import at_once

pytestmark = pytest.mark.unit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


def written(made, rows) -> bytes:
    """A file of these columns."""
    return b"".join(parquet.file(list(made.items()), rows))


def readers(data, folder):
    """The columns as Polars, Arrow and DuckDB read them."""
    path = folder / "written.parquet"
    path.write_bytes(data)
    yield pl.read_parquet(io.BytesIO(data)).to_dict(as_series=False)
    yield pq.read_table(path).to_pydict()
    # DuckDB gives moments a zone of the session's name; the moments are the same.
    yield duckdb.read_parquet(str(path)).pl().to_dict(as_series=False)


def test_every_reader_finds_what_was_written(tmp_path) -> None:
    """Each kind of column, with nulls and without, of several words and of many."""
    rows = 1_003
    random = np.random.default_rng(1)
    values, missing = random.normal(size=rows), random.random(rows) < 0.3
    micros = random.integers(-(10**15), 10**16, rows)
    ids = [f"{'ö' * (index % 4)}{index}" for index in range(rows)]
    words = [None if index % 7 == 0 else "ABCDE"[index % 5] for index in range(rows)]
    lists = [["one", "two", "drei"][: index % 4] for index in range(rows)]
    labels = random.integers(0, 3, rows)
    made = {
        "number": columns.numbers(values),
        "number.null": columns.numbers(values, missing),
        "number.none": columns.numbers(values, np.ones(rows, bool)),
        "moment": columns.moments(micros),
        "text": at_once(columns.unlike(ids)),
        "text.numbered": columns.numbered([("ö", 1), ("one", 1_000), ("two", 2)]),
        "word": at_once(columns.texts(words)),
        "word.empty": at_once(columns.texts(["" if word is None else word for word in words], null="")),
        "word.many": at_once(columns.texts([None, *ids[1:]])),
        "nobody": at_once(columns.texts([None] * rows)),
        "same": columns.constant("flights", rows),
        "null": columns.constant(None, rows),
        "list": columns.lists(lists, rows),
        "list.none": columns.lists([], rows),
        "label": columns.chosen(["low", "middle", "high"], labels),
    }
    wanted = {
        "number": values.tolist(),
        "number.null": [
            None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)
        ],
        "number.none": [None] * rows,
        "moment": [EPOCH + timedelta(microseconds=int(value)) for value in micros],
        "text": ids,
        "text.numbered": ["ö/0", *(f"one/{index}" for index in range(1_000)), "two/0", "two/1"],
        "word": words,
        "word.empty": words,
        "word.many": [None, *ids[1:]],
        "nobody": [None] * rows,
        "same": ["flights"] * rows,
        "null": [None] * rows,
        "list": lists,
        "list.none": [[]] * rows,
        "label": [["low", "middle", "high"][index] for index in labels],
    }
    for found in readers(written(made, rows), tmp_path):
        assert list(found) == list(wanted)
        for name, values_of in wanted.items():
            assert found[name] == values_of, name


@given(st.lists(st.one_of(st.none(), WORDS), min_size=1, max_size=40), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_any_texts_come_back(values, times) -> None:
    """Few or many, repeated or not, of any characters, empty or null."""
    values = values * times
    found = pl.read_parquet(written({"text": at_once(columns.texts(values))}, len(values)))
    assert found["text"].to_list() == values


@given(st.lists(st.lists(WORDS, max_size=3), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_lists_come_back(values) -> None:
    """Empty ones too."""
    found = pl.read_parquet(written({"list": columns.lists(values, len(values))}, len(values)))
    assert found["list"].to_list() == values


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 255, 256, 257, 5_000])
def test_any_number_of_rows_comes_back(rows) -> None:
    """Levels and indices are packed in groups of eight; a dictionary ends at 256 words."""
    values = [None if index % 3 == 1 else f"w{index % max(1, rows // 5)}" for index in range(rows)]
    numbers = np.arange(rows, dtype=np.float64)
    data = written(
        {"text": at_once(columns.texts(values)), "number": columns.numbers(numbers, numbers % 2 == 1)}, rows
    )
    found = pl.read_parquet(data)
    assert found["text"].to_list() == values
    assert found["number"].to_list() == [None if index % 2 else float(index) for index in range(rows)]


def test_more_columns_than_a_short_list_holds() -> None:
    """Of fifteen on, a list's head has its length apart."""
    made = {f"column {index}": columns.constant(str(index), 2) for index in range(300)}
    found = pl.read_parquet(written(made, 2))
    assert found.row(1) == tuple(str(index) for index in range(300))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**35, "808080808001")],
)
def test_numbers_are_as_long_as_they_must_be(value, encoded) -> None:
    """Examples of the specification, and the borders of a byte."""
    assert thrift.varint(value).hex() == encoded


def test_columns_of_different_lengths_are_no_file() -> None:
    """A reader would take one row's value for another's."""
    with pytest.raises(ValueError, match="other has 3 values for 2 rows"):
        written({"text": columns.constant("a", 2), "other": columns.constant("b", 3)}, 2)


def test_what_is_no_text_is_refused() -> None:
    """The log counts such rows as failed, and goes on."""
    with pytest.raises(TypeError):
        at_once(columns.texts(["A", 1.0]))
