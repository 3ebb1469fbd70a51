"""A log with few large segments holds the same rows, once each, whatever happens meanwhile."""

import functools
import threading
from datetime import timedelta

import duckdb
import polars as pl
import pytest

from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.predictions import log_schema
from contract.segments import generations, live_segments
from pipelines.logkeeping import compacting
from pipelines.logkeeping import generations as steps
from pipelines.logkeeping.compacting import compact, prune
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from tests.pipelines.logkeeping.logs import CONTRACT, NOW, fill, numbers, run


def test_small_segments_become_one_with_the_same_rows_in_order(tmp_path):
    """Layout, rows and order are those that were written."""
    rows = fill(tmp_path / "log", 7)
    folder = tmp_path / "log" / "toy"
    kept = compact(folder)
    assert (kept.segments_before, kept.segments_after, kept.rows_before, kept.rows_after) == (
        7,
        1,
        rows,
        rows,
    )
    assert numbers(folder) == list(range(rows))
    assert dict(pl.read_parquet_schema(live_segments(folder)[0])) == log_schema(CONTRACT)


def test_a_plain_glob_finds_every_row_once(tmp_path):
    """Who does not ask for the live segments may still read `MODEL/*.parquet`."""
    rows = fill(tmp_path / "log", 5)
    compact(tmp_path / "log" / "toy")
    glob = str(tmp_path / "log" / "toy" / "*.parquet")
    found = duckdb.sql("select count(*), count(distinct request_id) from read_parquet($1)", params=[glob])
    assert found.fetchall() == [(rows, rows)]


def test_days_are_merged_each_for_itself(tmp_path):
    """So that a day can be pruned when its time has come."""
    fill(tmp_path / "log", 3)
    fill(tmp_path / "log", 3, at=NOW + timedelta(days=1))
    assert compact(tmp_path / "log" / "toy").segments_after == 2


def test_a_segment_that_is_large_enough_is_left_alone(tmp_path):
    """The same file, byte for byte and by name."""
    fill(tmp_path / "log", 3)
    folder = tmp_path / "log" / "toy"
    before = {path.name for path in live_segments(folder)}
    assert compact(folder, small=100).segments_after == 3
    assert {path.name for path in live_segments(folder)} == before


def test_nothing_to_do_is_done_quietly(tmp_path):
    """A second compaction changes nothing."""
    fill(tmp_path / "log", 3)
    folder = tmp_path / "log" / "toy"
    compact(folder)
    before = folder.resolve()
    kept = compact(folder)
    assert (kept.segments_before, kept.segments_after) == (1, 1)
    assert folder.resolve() == before


def test_segments_of_another_layout_are_not_mixed(tmp_path):
    """One file has one schema."""
    folder = tmp_path / "log" / "toy"
    fill(tmp_path / "log", 4)
    for path in live_segments(folder)[2:]:
        pl.read_parquet(path).with_columns(pl.lit(1.0).alias("feature.extra")).write_parquet(path)
    compact(folder)
    widths = [len(pl.read_parquet_schema(path)) for path in live_segments(folder)]
    assert widths == [len(log_schema(CONTRACT)), len(log_schema(CONTRACT)) + 1]
    assert numbers(folder) == list(range(40))


def test_segments_of_an_older_time_are_brought_up_to_date(tmp_path):
    """Before there were roles, everything was an answer; a plain folder becomes a linked one."""
    folder = tmp_path / "log" / "toy"
    fill(tmp_path / "other", 4)
    folder.mkdir(parents=True)
    for path in live_segments(tmp_path / "other" / "toy"):
        pl.read_parquet(path).drop("role", "keys", "filled").write_parquet(folder / path.name)
    compact(folder)
    assert folder.is_symlink()
    (path,) = live_segments(folder)
    table = pl.read_parquet(path)
    assert dict(table.schema) == log_schema(CONTRACT)
    assert set(table["role"]) == {"answer"}
    assert numbers(folder) == list(range(40))


def test_old_segments_go_and_young_ones_stay(tmp_path):
    """By the newest row that a segment holds."""
    folder = tmp_path / "log" / "toy"
    fill(tmp_path / "log", 3)
    fill(tmp_path / "log", 2, at=NOW + timedelta(days=5))
    kept = prune(folder, 4, NOW + timedelta(days=6))
    assert (kept.segments_before, kept.segments_after, kept.rows_after) == (5, 2, 20)
    assert numbers(folder) == list(range(20))


def test_a_reader_keeps_the_files_that_it_has_found(tmp_path):
    """For the length of the grace; then what was replaced is removed."""
    folder = tmp_path / "log" / "toy"
    fill(tmp_path / "log", 3)
    found = live_segments(folder)
    compact(folder)
    compact(folder)
    assert all(path.exists() for path in found)
    assert compact(folder, grace_s=0).folders_removed == 1
    assert not any(path.exists() for path in found)
    assert numbers(folder) == list(range(30))


def test_a_merge_that_lost_rows_changes_nothing(tmp_path, monkeypatch):
    """The merged file is counted before it takes the others' place."""
    folder = tmp_path / "log" / "toy"
    fill(tmp_path / "log", 3)
    merge = compacting._merge
    monkeypatch.setattr(compacting, "_merge", lambda group, into: merge(group[1:], into))
    with pytest.raises(FlightlineError, match="20 rows; expected the 30 rows"):
        compact(folder)
    assert numbers(folder) == list(range(30))
    assert not list(generations(folder).glob(".part-*"))


def test_two_compactions_at_once_are_refused(tmp_path, monkeypatch):
    """The second says that another is under way."""
    fill(tmp_path / "log", 3)
    brief = functools.partial(exclusive, wait_s=0.1)
    monkeypatch.setattr(compacting, "exclusive", lambda path, what, **_: brief(path, what))
    with exclusive(tmp_path / "log" / ".toy.lock", "test"), pytest.raises(FlightlineError, match="under way"):
        compact(tmp_path / "log" / "toy")


def test_a_writer_that_was_held_up_writes_where_the_log_is_now(tmp_path, monkeypatch):
    """It found its folder before the compaction and gets the lock after it: it looks again."""
    log, folder = tmp_path / "log", tmp_path / "log" / "toy"
    fill(log, 3)
    inside, go_on = threading.Event(), threading.Event()
    turn = steps.turn

    def slowly(link, to):
        inside.set()
        assert go_on.wait(20)
        turn(link, to)

    monkeypatch.setattr(steps, "turn", slowly)
    compaction = threading.Thread(target=compact, args=(folder,))
    compaction.start()
    assert inside.wait(20)
    writer = PredictionLog(log, "8", LogSettings(seconds=0.01))
    writer.append(run(range(100, 110), NOW + timedelta(minutes=1)))
    writer.start()  # it waits for the lock from here on
    go_on.set()
    compaction.join()
    writer.close()
    assert writer.counts.written == 10
    assert numbers(folder) == [*range(30), *range(100, 110)]


def test_readers_see_every_row_once_while_others_write_and_compact(tmp_path):
    """DuckDB over the live segments: never an error, never a row twice, never one less than was written."""
    log, folder = tmp_path / "log", tmp_path / "log" / "toy"
    writer = PredictionLog(log, "8", LogSettings(seconds=0.005, sync="never"))
    writer.start()
    done, problems, reads = threading.Event(), [], []

    def read() -> None:
        connection = duckdb.connect()
        while not done.is_set():
            before = writer.counts.written
            paths = [str(path) for path in live_segments(folder)]
            if not paths:
                continue
            try:
                sql = "select count(*), count(distinct request_id) from read_parquet($1)"
                count, distinct = connection.sql(sql, params=[paths]).fetchall()[0]
            except duckdb.Error as error:
                problems.append(str(error))
            else:
                reads.append(count)
                if count != distinct or count < before:
                    problems.append(f"{count} rows, {distinct} different, {before} written before")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    sent = merged = 0
    try:
        while merged < 12:
            for _ in range(20):
                writer.append(run(range(sent, sent + 5), NOW + timedelta(milliseconds=sent)))
                sent += 5
                threading.Event().wait(0.001)
            if folder.exists():
                kept = compact(folder)
                merged += kept.segments_after < kept.segments_before
    finally:
        done.set()
        for reader in readers:
            reader.join()
        writer.close()
    assert problems == []
    assert len(reads) >= 12
    assert numbers(folder) == list(range(sent))
