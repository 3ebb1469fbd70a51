"""What was answered is on disk within a second, whole, and never costs a request its answer."""

import os
import time
from dataclasses import replace
from datetime import timedelta

import msgspec
import polars as pl
import pytest

from contract.predictions import log_schema
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from tests.serving.recording.runs import NOW, QUICK, answers, read, until

pytestmark = pytest.mark.unit


def test_rows_are_readable_while_the_log_is_open(log, contract) -> None:
    """A reader sees whole segments of the declared layout, soon after the answers."""
    log.append(answers(contract, 3))
    until(lambda: log.counts.written == 3)
    table = read(log)
    assert dict(table.schema) == log_schema(contract)
    assert table["request_id"].to_list() == ["r0", "r1", "r2"]
    assert table["entity_id"].to_list() == ["e0", None, "e2"]
    assert table["event_time"].to_list() == [NOW + timedelta(minutes=n) for n in range(3)]
    assert table["label"].to_list() == ["low"] * 3
    assert table["feature.height"].to_list() == [None] * 3
    assert table["feature.width"].to_list() == [0, 1, 2]
    assert table["score.low"].to_list() == [0.5] * 3
    assert table["score.high"].to_list() == [0.25] * 3
    assert table["role"].to_list() == ["answer"] * 3


def test_a_row_is_a_mapping_or_a_tuple_in_the_contracts_order(log, contract) -> None:
    """The same row either way, in one segment."""
    log.append(answers(contract, 1, values=[{"letter": "B", "height": 2.0, "width": 1.0}]))
    log.append(answers(contract, 1, 1, values=[(1.0, 2.0, "B")]))
    log.close()
    columns = ["feature.width", "feature.height", "feature.letter"]
    assert read(log).select(columns).rows() == [(1.0, 2.0, "B")] * 2


def test_what_was_sent_is_told_from_what_the_store_knew(log, contract) -> None:
    """Entity keys beside the row, the features that were filled in, and nothing for a complete row."""
    log.append(answers(contract, 2, filled=[["height"], []], keys=[{"tail": "N1", "hour": 3}, None]))
    log.append(answers(contract, 1, 2))
    log.close()
    table = read(log)
    assert table["filled"].to_list() == [["height"], [], []]
    assert table["keys"].to_list() == ['{"hour": 3, "tail": "N1"}', None, None]


def test_a_shadows_answers_are_marked(log, contract) -> None:
    """The same request, answered by another version for nobody."""
    log.append(answers(contract, 1))
    log.append(answers(contract, 1, digest="e" * 64, version="2", role="shadow"))
    log.close()
    assert read(log).sort("version").select("version", "role").rows() == [("1", "answer"), ("2", "shadow")]


def test_closing_writes_what_is_waiting(make_log, contract) -> None:
    """Nothing that was answered is lost at shutdown."""
    log = make_log(LogSettings(seconds=3600))
    log.append(answers(contract, 10))
    log.close()
    assert read(log).height == log.counts.written == 10


def test_segments_are_added_and_never_changed(log, contract) -> None:
    """A later flush is another file."""
    log.append(answers(contract, 1))
    until(lambda: log.counts.written == 1)
    first = {path: path.read_bytes() for path in (log._folder / "toy").glob("*.parquet")}
    log.append(answers(contract, 1, start=1))
    until(lambda: log.counts.written == 2)
    assert len(list((log._folder / "toy").iterdir())) == 2
    assert all(path.read_bytes() == data for path, data in first.items())


def test_many_rows_are_written_at_once(make_log, contract) -> None:
    """A full segment does not wait for its time to pass."""
    log = make_log(LogSettings(seconds=3600, rows=100))
    log.append(answers(contract, 100))
    until(lambda: log.counts.written == 100)


def test_a_long_queue_becomes_several_segments(tmp_path, contract) -> None:
    """Each holds at most the rows of a segment, and none a part of a run."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(rows=5))
    for start in range(0, 12, 3):
        log.append(answers(contract, 3, start))
    log.start()
    log.close()
    heights = [pl.read_parquet(path).height for path in sorted((log._folder / "toy").iterdir())]
    assert heights == [3, 3, 3, 3]


def test_rows_beyond_the_bound_are_dropped_and_counted(tmp_path, contract) -> None:
    """Memory is bounded in rows, and the loss is not silent."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(most_rows=5))
    log.append(answers(contract, 4))
    log.append(answers(contract, 4))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (4, 4)


@pytest.mark.parametrize("kind", ["mapping", "tuple"])
def test_long_texts_fill_the_queue_sooner(tmp_path, contract, kind) -> None:
    """Memory is bounded in bytes, too: a category may be as long as a body."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(most_bytes=1_000_000))
    text = "x" * 600_000
    value = (1.0, None, text) if kind == "tuple" else {"width": 1.0, "height": None, "letter": text}
    log.append(answers(contract, 1, values=[value]))
    log.append(answers(contract, 1, values=[value]))
    log.append(answers(contract, 1))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (2, 1)


def test_room_comes_back_when_rows_are_written(make_log, contract) -> None:
    """The bound is on what waits, not on what was ever logged."""
    log = make_log(replace(QUICK, most_rows=5))
    for start in range(0, 20, 5):
        log.append(answers(contract, 5, start))
        until(lambda: log.summary()["waiting"] == 0)
    assert (log.counts.written, log.counts.dropped) == (20, 0)


def test_rows_that_are_no_table_cost_only_themselves(log, contract) -> None:
    """A value that the contract does not allow is counted; what comes later is written."""
    log.append(answers(contract, 1, values=[{"width": "wide", "height": None, "letter": "A"}]))
    until(lambda: log.counts.failed == 1)
    log.append(answers(contract, 1))
    until(lambda: log.counts.written == 1)
    assert log.summary()["waiting"] == 0


def test_models_are_kept_apart(log, contract) -> None:
    """Each model has a folder of its own."""
    other = msgspec.structs.replace(contract, model="other")
    log.append(answers(contract, 1))
    log.append(answers(other, 1, digest="e" * 64))
    log.close()
    visible = {path.name for path in log._folder.iterdir() if not path.name.startswith(".")}
    assert visible == {"toy", "other"}


def test_appending_costs_the_request_path_microseconds(tmp_path, contract) -> None:
    """Under 3 µs a row for a single row, the worst case; the best of some tries, for a machine under load."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(most_rows=10**9, most_bytes=10**15))
    one = answers(contract, 1)

    def seconds_a_row(rounds=2_000):
        start = time.perf_counter()
        for _ in range(rounds):
            log.append(one)
        return (time.perf_counter() - start) / rounds

    assert min(seconds_a_row() for _ in range(7)) < 3e-6


def test_the_writer_gives_way_to_whoever_answers(log, contract) -> None:
    """Its thread does not interrupt the event loop when it wakes up."""
    log.append(answers(contract, 1))
    until(lambda: log.counts.written == 1)
    assert os.sched_getscheduler(log._thread.native_id) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
