"""A worker counts as long as it lives, whatever way it ends."""

import signal
import subprocess
import sys
import threading

import pytest

from serving.models.workers import WORKERS, Presence, live_workers

CODE = """
import sys
from pathlib import Path
from serving.models.workers import Presence
presence = Presence(Path(sys.argv[1]), "77")
presence.begin()
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.mark.unit
def test_a_worker_counts_from_its_beginning_to_its_end(tmp_path) -> None:
    """And leaves nothing behind."""
    presence = Presence(tmp_path, "5")
    assert live_workers(tmp_path) == set()
    presence.begin()
    assert live_workers(tmp_path) == {"5"}
    presence.end()
    assert live_workers(tmp_path) == set()
    assert list((tmp_path / WORKERS).iterdir()) == []


def test_a_killed_worker_does_not_count(tmp_path) -> None:
    """The kernel takes its lock back; its file is removed by who looks."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"begun\n"
        assert live_workers(tmp_path) == {"77"}
        worker.send_signal(signal.SIGKILL)
        worker.wait(20)
        assert live_workers(tmp_path) == set()
    assert list((tmp_path / WORKERS).iterdir()) == []


@pytest.mark.unit
def test_a_worker_that_begins_while_others_look_is_not_lost(tmp_path) -> None:
    """Who looks may take a file that is not locked yet for a dead worker's; the worker notices."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            live_workers(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(50):
            presence = Presence(tmp_path, str(number))
            presence.begin()
            assert str(number) in live_workers(tmp_path)
            presence.end()
    finally:
        stop.set()
        looking.join()
