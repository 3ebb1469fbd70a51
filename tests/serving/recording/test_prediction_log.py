"""What was answered is on disk within a second, whole, and never costs a request its answer."""

import threading
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from contract.predictions import log_schema
from serving.recording import prediction_log
from serving.recording.prediction_log import Entry, PredictionLog

pytestmark = pytest.mark.unit

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)


def entries(contract, count, start=0):
    """`count` different rows."""
    return [
        Entry(
            contract=contract,
            request_id=f"r{index}",
            entity_id=None if index % 2 else f"e{index}",
            version="1",
            digest="d" * 64,
            received_at=NOW,
            event_time=NOW + timedelta(minutes=index),
            latency_ms=0.5,
            label="low",
            scores=(0.5, 0.25, 0.25),
            values={"width": float(index), "height": None, "letter": "A"},
        )
        for index in range(start, start + count)
    ]


def until(condition, seconds=10):
    """Wait for `condition`, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.02)


@pytest.fixture
def contract(make_bundle):
    """The contract of the toy model."""
    return make_bundle().contract


@pytest.fixture
def log(tmp_path):
    """A started log, closed at the end."""
    made = PredictionLog(tmp_path / "log", "7")
    made.start()
    yield made
    made.close()


def read(log):
    """All that is on disk, in the order of the rows."""
    return pl.read_parquet(log._folder / "toy" / "*.parquet").sort("event_time")


def test_rows_are_readable_while_the_log_is_open(log, contract) -> None:
    """A reader sees whole segments of the declared layout, a second after the answers."""
    log.append(entries(contract, 3))
    until(lambda: log.counts.written == 3)
    table = read(log)
    assert dict(table.schema) == log_schema(contract)
    assert table["request_id"].to_list() == ["r0", "r1", "r2"]
    assert table["entity_id"].to_list() == ["e0", None, "e2"]
    assert table["event_time"].to_list() == [NOW + timedelta(minutes=n) for n in range(3)]
    assert table["feature.height"].to_list() == [None] * 3
    assert table["score.low"].to_list() == [0.5] * 3


def test_closing_writes_what_is_waiting(log, contract) -> None:
    """Nothing that was answered is lost at shutdown."""
    log.append(entries(contract, 10))
    log.close()
    assert read(log).height == log.counts.written == 10


def test_segments_are_added_and_never_changed(log, contract) -> None:
    """A later flush is another file."""
    log.append(entries(contract, 1))
    until(lambda: log.counts.written == 1)
    first = {path: path.read_bytes() for path in (log._folder / "toy").glob("*.parquet")}
    log.append(entries(contract, 1, start=1))
    until(lambda: log.counts.written == 2)
    assert len(list((log._folder / "toy").iterdir())) == 2
    assert all(path.read_bytes() == data for path, data in first.items())


def test_many_rows_are_written_at_once(log, contract, monkeypatch) -> None:
    """A full segment does not wait for the second to pass."""
    monkeypatch.setattr(prediction_log, "FLUSH_SECONDS", 60.0)
    log.append(entries(contract, 1))
    until(lambda: log.counts.written == 1)
    log.append(entries(contract, prediction_log.FLUSH_ROWS))
    until(lambda: log.counts.written == prediction_log.FLUSH_ROWS + 1)


def test_rows_beyond_the_bound_are_dropped_and_counted(tmp_path, contract, monkeypatch) -> None:
    """Memory is bounded, and the loss is not silent."""
    monkeypatch.setattr(prediction_log, "MOST_ROWS", 5)
    log = PredictionLog(tmp_path / "log", "7")
    log.append(entries(contract, 4))
    log.append(entries(contract, 4))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (5, 3)


def test_a_disk_that_refuses_is_counted_and_survived(log, contract) -> None:
    """Rows that could not be written are counted with the reason; later ones are written."""
    log._folder.write_text("in the way")
    log.append(entries(contract, 2))
    until(lambda: log.counts.failed == 2)
    assert log.summary()["error"]
    log._folder.unlink()
    log.append(entries(contract, 1))
    until(lambda: log.counts.written == 1)


def test_models_are_kept_apart(log, contract) -> None:
    """Each model has a folder of its own."""
    import msgspec

    other = msgspec.structs.replace(contract, model="other")
    log.append([*entries(contract, 1), *(of_another_bundle(entry) for entry in entries(other, 1))])
    log.close()
    assert {path.name for path in log._folder.iterdir()} == {"toy", "other"}


def of_another_bundle(entry):
    """The entry under another digest, as another model has."""
    import dataclasses

    return dataclasses.replace(entry, digest="e" * 64)
