"""Rows that come as columns, and short runs that are gathered, are logged as they were sent."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from serving.recording.answered import Matrices, Numbered
from serving.recording.columns import PIECE
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from serving.recording.tables import segment
from tests.serving.recording.runs import NOW, answers, held, read, until

pytestmark = pytest.mark.unit


def test_short_runs_are_gathered_and_logged_as_they_came(make_log, contract) -> None:
    """Several versions' in turns, beside a long one and one that is not by column."""
    made = [
        held(contract, 1),
        held(contract, 2, 1, version="2"),
        held(contract, 1, 3),
        held(contract, 100, 4, request_ids=Numbered("long", 100)),
        held(contract, 1, 104, received_at=NOW + timedelta(seconds=1), latency_ms=7.0),
        answers(contract, 2, 105, filled=[["height"], []]),
        held(contract, 3, 107, role="shadow"),
    ]
    log = make_log(LogSettings(seconds=3600))
    for item in made:
        log.append(item)
    log.close()
    assert read(log).equals(pl.read_parquet(b"".join(segment(made))).sort("event_time"))
    assert log.counts.written == 110


def test_more_gathered_rows_than_one_step_looks_at_are_logged_as_they_came(make_log, contract) -> None:
    """Each with its own texts, present and absent, and its own moment."""
    rows = 2 * PIECE + 7
    letters = [["A", "B", ""][index % 3] for index in range(rows)]
    log = make_log(LogSettings(seconds=3600))
    for index, letter in enumerate(letters):
        values = Matrices(contract, np.array([[float(index), np.nan]]), np.array([[letter]], dtype=object))
        log.append(held(contract, 1, index, values=values))
    log.close()
    found = read(log)
    assert found["feature.letter"].to_list() == [letter or None for letter in letters]
    assert found["feature.width"].to_list() == [float(index) for index in range(rows)]
    assert found["event_time"].to_list() == [NOW + timedelta(minutes=index) for index in range(rows)]


def test_gathered_rows_are_bounded_like_all_others(tmp_path, contract) -> None:
    """In rows, in bytes, and in those of one segment."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(rows=5, most_rows=12))
    for start in range(14):
        log.append(held(contract, 1, start))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (12, 2)
    log.start()
    log.close()
    heights = [pl.read_parquet(path).height for path in sorted((log._folder / "toy").iterdir())]
    assert heights == [5, 5, 2]
    assert (log.counts.written, log.summary()["waiting"]) == (12, 0)
    text = np.array([["x" * 600_000]], dtype=object)
    log = PredictionLog(tmp_path / "log", "8", LogSettings(most_bytes=1_000_000))
    for _ in range(2):
        log.append(held(contract, 1, values=Matrices(contract, np.array([[1.0, 2.0]]), text)))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (1, 1)


@pytest.mark.parametrize("wrong", [{"labels": np.zeros(1, np.int32)}, {"scores": np.zeros((1, 3))}])
def test_gathered_rows_of_another_type_are_never_misread(log, contract, wrong) -> None:
    """They are counted as failed."""
    log.append(held(contract, 1, **wrong))
    until(lambda: log.counts.failed == 1)
    assert log.counts.written == 0


def test_the_ids_of_a_long_request_are_made_when_asked_for(contract, log) -> None:
    """Each is the request's with the row's index, beside other requests' in one segment or alone."""
    many = Numbered("batch", 12)
    assert list(many) == [many[index] for index in range(len(many))]
    assert (many[0], many[11]) == ("batch/0", "batch/11")
    with pytest.raises(IndexError):
        many[12]
    log.append(answers(contract, 12, request_ids=many))
    until(lambda: log.counts.written == 12)
    log.append(answers(contract, 12, start=12, request_ids=many))
    log.append(answers(contract, 1, start=24))
    log.close()
    assert read(log)["request_id"].to_list() == [*many, *many, "r24"]


def test_rows_held_by_column_are_logged_as_they_were_sent(contract, log, tmp_path) -> None:
    """Missing values too, and a row of them is what the caller said."""
    rows = [{"width": 1.5, "height": None, "letter": "A"}, {"width": -0.0, "height": 2.0, "letter": None}]
    held = Matrices(
        contract,
        np.array(
            [[np.nan if row[name] is None else row[name] for name in ("width", "height")] for row in rows]
        ),
        np.array([[row["letter"] or ""] for row in rows], dtype=object),
    )
    assert [dict(zip(rows[0], row, strict=True)) for row in held] == rows
    log.append(answers(contract, 2, values=rows))
    log.append(answers(contract, 2, values=held))
    log.close()
    found = pl.read_parquet(tmp_path / "log" / "*" / "*.parquet")
    assert found[:2].equals(found[2:])
    log_of_columns = b"".join(segment([answers(contract, 2, values=held)] * 2))
    assert pl.read_parquet(log_of_columns).equals(found)
