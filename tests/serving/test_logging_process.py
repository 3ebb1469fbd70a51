"""The prediction log of the service as it really runs: killed, restarted, and on a disk that is full."""

import os
import shutil
from contextlib import contextmanager

import polars as pl
import pytest

from contract.segments import live_segments
from serving.recording.log_settings import LogSettings
from tests import disks
from tests.serving import processes
from tests.serving.processes import ROW, Process
from tests.serving.real import PYTHON, free_port, until

ANSWERS = 20
SLACK_SECONDS = 4  # beyond the interval, for a machine that does other things, too


def process(folder, build, command=("serving",)):
    """A service that is not started yet, with one model."""
    made = Process(folder=folder, port=free_port(), build=build, command=list(command))
    made.desire(made.release(), "1")
    return made


def log(service):
    """What the service says of its prediction log."""
    return service.client.get("/status").json()["prediction_log"]


def ask(service, start, count=ANSWERS):
    """So many predictions, one after another, by number."""
    for number in range(start, start + count):
        answer = service.client.post("/predict", json={"row": ROW, "id": str(number)})
        assert answer.status_code == 200


def logged(folder):
    """The numbers in the log, sorted."""
    found = [pl.read_parquet(path, columns=["entity_id"])["entity_id"] for path in live_segments(folder)]
    return sorted(int(number) for number in pl.concat(found))


def test_a_kill_loses_at_most_the_last_interval(tmp_path, build_release) -> None:
    """What is older than the interval is there, whole; what was cut off is reported at the next start."""
    service = process(tmp_path, build_release)
    folder = tmp_path / "predictions" / "toy"
    service.start()
    try:
        ask(service, 0)
        until(lambda: log(service)["written"] == ANSWERS, LogSettings().seconds + SLACK_SECONDS)
        ask(service, ANSWERS)
        service.popen.kill()
        service.popen.wait(20)
        kept = logged(folder)
        assert kept[:ANSWERS] == list(range(ANSWERS))
        assert len(kept) == len(set(kept))
        # The kill may come while a segment is being written: such a file, as the writer leaves it.
        (folder.resolve() / ".20130401T120000000000-1-000001.parquet.tmp").write_bytes(b"PAR1")
        service.start()
        until(lambda: log(service)["torn"] == 1)
        ask(service, 2 * ANSWERS)
        until(lambda: log(service)["written"] == ANSWERS)
        assert logged(folder) == sorted([*kept, *range(2 * ANSWERS, 3 * ANSWERS)])
        assert "was being written when its service was killed" in (tmp_path / "output.txt").read_text()
    finally:
        if service.popen.poll() is None:
            service.stop()
        service.client.close()


@pytest.mark.slow
def test_a_full_disk_costs_no_answer(tmp_path, build_release, monkeypatch) -> None:
    """On a real file system of one megabyte, full: answers go on, and with room again all is written."""
    if not disks.namespaces():
        pytest.skip(
            "this machine lets no process mount a file system: the full disk is tried in-process only"
        )
    service = process(tmp_path, build_release)
    with on_a_disk_of_its_own(service, tmp_path / "predictions", 1, monkeypatch) as seen:
        ask(service, 0)
        until(lambda: log(service)["written"] == ANSWERS)
        disks.fill(seen / "filler")
        ask(service, ANSWERS)
        full = until(lambda: (found := log(service))["refused_writes"] and found)
        assert "No space left" in full["error"]
        assert (full["waiting"], full["written"]) == (ANSWERS, ANSWERS)
        ask(service, 2 * ANSWERS)  # and it still answers
        text = service.client.get("/metrics").text
        assert 'flightline_prediction_log_events_total{kind="refused_writes"}' in text
        (seen / "filler").unlink()
        until(lambda: log(service)["written"] == 3 * ANSWERS)
        assert log(service)["error"] == ""
        assert logged(seen / "toy") == list(range(3 * ANSWERS))


@pytest.mark.slow
def test_a_full_disk_ends_no_service(tmp_path, build_release, monkeypatch) -> None:
    """Its state is on the full disk, too: what is counted for the first time has its room already."""
    if not disks.namespaces():
        pytest.skip("this machine lets no process mount a file system")
    service = process(tmp_path, build_release)
    with on_a_disk_of_its_own(service, tmp_path / "state", 8, monkeypatch) as seen:
        counted = [path.stat() for path in (seen / "bentoml" / "prometheus").glob("*.db")]
        assert counted
        assert all(found.st_blocks * 512 >= found.st_size for found in counted), "a hole is a kill (SIGBUS)"
        disks.fill(seen / "filler")
        ask(service, 0)
        text = service.client.get("/metrics").text
        assert f'flightline_prediction_seconds_count{{model="toy",version="1"}} {ANSWERS}.0' in text


@contextmanager
def on_a_disk_of_its_own(service, folder, mebibytes, monkeypatch):
    """The service runs for the block, and `folder` is a disk that it mounts before it starts.

    Nobody else sees it but through /proc: the block's value is the folder seen there.
    """
    folder.mkdir(exist_ok=True)
    kept = shutil.copytree(folder, folder.with_name("kept"))
    mount = disks.mounting(folder, kept, mebibytes)
    python = folder.with_name("python")
    python.write_text(f'#!/bin/sh\nexec unshare -rm sh -c \'{mount} && exec {PYTHON} "$@"\' sh "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(processes, "PYTHON", python)
    service.start()
    try:
        seen = disks.seen(service.popen.pid, folder)
        room = os.statvfs(seen)
        assert room.f_blocks * room.f_frsize == mebibytes * 2**20, "it is the machine's own disk"
        yield seen
    finally:
        service.stop()
