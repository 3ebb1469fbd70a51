"""A disk that is full, broken or slow costs no answer, and what a kill leaves torn is told."""

import errno
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.segments import generations
from serving.recording import segments
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from tests.serving.recording.runs import QUICK, answers, read, until

pytestmark = pytest.mark.unit


def refusing(monkeypatch):
    """A switch: while it is set, the disk takes a few bytes and then nothing, as one that is full."""
    full, write = threading.Event(), segments._write

    def limited(handle, parts, *, rest):
        if full.is_set():
            write(handle, parts[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(handle, parts, rest=rest)

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


@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 70_000, 200_000]), max_size=130),
    taken=st.lists(st.integers(1, 90_000), max_size=20),
    rest=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(sizes, taken, rest) -> None:
    """In calls of a bounded size, whatever the parts of the segment are and whatever each call takes."""
    parts = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    wrote, calls, most = bytearray(), iter(taken), 64 * 1024 if rest else 1024 * 1024

    def writev(_: int, views) -> int:
        data = b"".join(views)
        assert 0 < len(data) <= most
        done = min(len(data), next(calls, most))
        wrote.extend(data[:done])
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.os, "writev", writev)
        segments._write(0, parts, rest=rest)
    assert wrote == b"".join(parts)


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
