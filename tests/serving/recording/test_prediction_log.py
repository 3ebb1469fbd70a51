"""What was answered is on disk within a second, whole, and never costs a request its answer."""

import errno
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from contract.predictions import log_schema
from contract.segments import generations
from serving.recording import segments
from serving.recording.answered import Matrices, Numbered
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import Answered, PredictionLog
from serving.recording.tables import segment

pytestmark = pytest.mark.unit

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
QUICK = LogSettings(seconds=0.05)


def answers(contract, count, start=0, **changes):
    """One run that answered `count` different rows."""
    indices = range(start, start + count)
    made = Answered(
        contract=contract,
        version="1",
        digest="d" * 64,
        request_ids=[f"r{index}" for index in indices],
        entity_ids=[None if index % 2 else f"e{index}" for index in indices],
        received_at=NOW,
        event_times=[NOW + timedelta(minutes=index) for index in indices],
        latency_ms=0.5,
        labels=np.zeros(count, dtype=np.int64),
        scores=np.tile(np.array([0.5, 0.25, 0.25], dtype=np.float32), (count, 1)),
        values=[{"width": float(index), "height": None, "letter": "A"} for index in indices],
    )
    return replace(made, **changes)


def until(condition, seconds=10):
    """Wait for `condition`, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.01)


@pytest.fixture
def contract(make_bundle):
    """The contract of the toy model."""
    return make_bundle().contract


@pytest.fixture
def make_log(tmp_path):
    """Started logs, closed at the end."""
    made = []

    def make(settings=QUICK):
        made.append(PredictionLog(tmp_path / "log", "7", settings))
        made[-1].start()
        return made[-1]

    yield make
    for log in made:
        log.close()


@pytest.fixture
def log(make_log):
    """One of them."""
    return make_log()


def read(log):
    """All that is on disk, in the order of the rows."""
    return pl.read_parquet(log._folder / "toy" / "*.parquet").sort("event_time")


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


def refusing(monkeypatch):
    """A switch: while it is set, the disk takes a few bytes and then nothing, as one that is full."""
    full, write = threading.Event(), segments._write

    def limited(handle, parts):
        if full.is_set():
            write(handle, parts[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(handle, parts)

    monkeypatch.setattr(segments, "_write", limited)
    full.set()
    return full


def test_a_full_disk_is_survived_and_its_rows_are_written_later(log, contract, monkeypatch, caplog) -> None:
    """While there is no room rows wait; when there is, all of them are written, and both moments are told."""
    full = refusing(monkeypatch)
    log.append(answers(contract, 2))
    until(lambda: log.counts.refused_writes >= 2)
    assert "No space left" in log.summary()["error"]
    assert log.summary()["waiting"] == 2
    assert list((log._folder / "toy").iterdir()) == []
    full.clear()
    until(lambda: log.counts.written == 2)
    until(lambda: log.summary()["error"] == "")
    assert (log.counts.failed, log.counts.dropped, log.summary()["waiting"]) == (0, 0, 0)
    assert read(log).height == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_a_disk_that_stays_full_costs_the_rows_beyond_the_bound(make_log, contract, monkeypatch) -> None:
    """They are counted as dropped, and those that still wait at the end as failed."""
    refusing(monkeypatch)
    log = make_log(replace(QUICK, most_rows=5))
    for start in range(0, 8, 2):
        log.append(answers(contract, 2, start))
    until(lambda: log.counts.refused_writes)
    log.close()
    assert (log.counts.written, log.counts.dropped, log.counts.failed) == (0, 4, 4)


def test_one_models_broken_folder_does_not_hold_up_another(log, contract) -> None:
    """The rows of the one wait, those of the other are written."""
    log._folder.mkdir(parents=True, exist_ok=True)
    (log._folder / "toy").write_text("in the way")
    log.append(answers(contract, 2))
    other = msgspec.structs.replace(contract, model="other")
    log.append(answers(other, 1, digest="e" * 64))
    until(lambda: log.counts.written == 1 and log.counts.refused_writes)
    (log._folder / "toy").unlink()
    until(lambda: log.counts.written == 3)


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


def written(log, contract):
    """The log's folder with one sound segment in it."""
    log.append(answers(contract, 1))
    log.close()
    return (log._folder / "toy").resolve()


def test_what_a_kill_left_is_removed_counted_and_told(log, make_log, contract, caplog) -> None:
    """A temporary segment that nobody writes any more: its rows are lost, and the log says so."""
    folder = written(log, contract)
    (folder / ".20130401T120000000000-9-000001.parquet.tmp").write_bytes(b"PAR1 half")
    again = make_log()
    until(lambda: again.counts.torn == 1)
    assert "was being written when its service was killed" in caplog.text
    assert [path.suffix for path in folder.iterdir()] == [".parquet"]


def test_a_segment_that_a_living_worker_writes_is_left_alone(log, make_log, contract) -> None:
    """Two workers share a log; the second starts while the first is writing."""
    import fcntl

    folder = written(log, contract)
    temporary = folder / ".20130401T120000000000-9-000001.parquet.tmp"
    with temporary.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        again = make_log()
        again.append(answers(contract, 1, 1))
        until(lambda: again.counts.written == 1)
    assert temporary.exists()
    assert again.counts.torn == 0


@pytest.mark.parametrize("cut", [0, 5, -1])
def test_a_segment_without_an_end_is_moved_aside(log, make_log, contract, caplog, cut) -> None:
    """As after a power cut: readers find only whole ones, and the file is kept for whoever wants to look."""
    folder = written(log, contract)
    sound = next(folder.iterdir())
    (folder / "20130401T130000000000-9-000001.parquet").write_bytes(sound.read_bytes()[:cut])
    again = make_log()
    until(lambda: again.counts.torn == 1)
    assert "has no whole end" in caplog.text
    assert list(folder.iterdir()) == [sound]
    aside = list((generations(log._folder / "toy") / "torn").iterdir())
    assert [path.name for path in aside] == ["20130401T130000000000-9-000001.parquet"]


@pytest.mark.parametrize(("sync", "flushes"), [("always", [1, 1]), ("interval", [0, 1]), ("never", [0, 0])])
def test_the_policy_decides_when_a_segment_is_on_the_disk(
    tmp_path, contract, monkeypatch, sync, flushes
) -> None:
    """At once, at the latest when the interval or the service ends, or when the system likes."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (synced.append(Path(f"/proc/self/fd/{handle}").readlink().name), fsync(handle)),
    )
    log = PredictionLog(tmp_path / "log", "7", LogSettings(seconds=0.02, sync=sync, sync_seconds=3600))
    log.start()
    log.append(answers(contract, 1))
    until(lambda: log.counts.written == 1)

    def segments_synced():
        return sum(".parquet" in name for name in synced)

    before = segments_synced()
    log.close()
    assert [before, segments_synced()] == flushes


def test_an_interval_syncs_what_was_written_in_it(make_log, contract, monkeypatch) -> None:
    """Segments written since the last time, each once."""
    synced = []
    monkeypatch.setattr("serving.recording.prediction_log.sync_path", lambda path: synced.append(path.name))
    log = make_log(LogSettings(seconds=0.02, sync="interval", sync_seconds=0.05))
    log.append(answers(contract, 1))
    until(lambda: len(synced) == 2)  # the segment and its folder
    log.close()
    assert len(synced) == 2


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


def test_the_writer_gives_way_to_whoever_answers(log, contract) -> None:
    """Its thread does not interrupt the event loop when it wakes up."""
    log.append(answers(contract, 1))
    until(lambda: log.counts.written == 1)
    assert os.sched_getscheduler(log._thread.native_id) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


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
