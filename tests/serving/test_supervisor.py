"""The supervisor replaces what dies, ever more slowly where it dies young."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serving import supervisor
from serving.supervisor import FIRST_DELAY_S, LAST_DELAY_S, YOUNG_S, Supervisor
from tests.serving.real import ROOT

pytestmark = pytest.mark.unit


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """Begin at some moment."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """As of the standard library."""
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The supervisor's clock."""
    made = Clock()
    monkeypatch.setattr(supervisor, "time", made)
    return made


@pytest.fixture
def watched(monkeypatch) -> Iterator[tuple[Supervisor, list[Any]]]:
    """A supervisor of one worker that ends at once with code 3, and those that it has started."""
    started: list[Any] = []

    def start(self: Supervisor) -> Any:  # noqa: ARG001 - a method's signature
        started.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]))
        started[-1].wait(20)
        return started[-1]

    monkeypatch.setattr(Supervisor, "_start", start)
    with socket.socket() as listener:
        made = Supervisor([], 1, listener, stop_seconds=1)
        yield made, started
        made._end()


def test_who_dies_young_is_replaced_ever_more_slowly(watched, clock, capsys) -> None:
    """A fifth of a second, twice as long each time, ten seconds at most; each death is told."""
    made, started = watched
    slot = made._slots[0]
    delays = []
    made._keep(slot)
    for _ in range(8):
        clock.now += 0.01
        made._keep(slot)  # sees the death
        delays.append(slot.due - clock.now)
        clock.now = slot.due - 0.001
        count = len(started)
        made._keep(slot)
        assert len(started) == count  # not before its time
        clock.now = slot.due
        made._keep(slot)
        assert len(started) == count + 1
    assert delays == pytest.approx([min(LAST_DELAY_S, FIRST_DELAY_S * 2**n) for n in range(8)])
    assert f"worker {started[0].pid} ended with code 3; another starts in 0.2 s" in capsys.readouterr().err


def test_who_lived_long_is_replaced_at_once(watched, clock) -> None:
    """Its death says nothing about how it was started."""
    made, _ = watched
    slot = made._slots[0]
    for _ in range(3):
        made._keep(slot)
        clock.now += YOUNG_S + 1
        made._keep(slot)
        assert slot.due - clock.now == pytest.approx(FIRST_DELAY_S)
        clock.now = slot.due


SUPERVISE = """
import socket, sys
from serving.supervisor import Supervisor
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    sys.exit(Supervisor(["/bin/sh", "-c", sys.argv[1]], 2, listener, stop_seconds=0.5).run())
"""


@pytest.mark.parametrize(
    ("worker", "code"),
    [
        ("echo up; exec sleep 60", 0),  # as one that is still starting: it has not said what to do on SIGTERM
        ("trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done", 0),
        ("trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done", 3),
        ("trap '' TERM; echo up; while :; do sleep 0.02; done", 9),  # killed, when its time is over
    ],
    ids=["starting", "ends", "fails", "stays"],
)
def test_its_exit_code_is_that_of_the_worst_worker(worker, code) -> None:
    """0 where each ended as it should, also of the signal itself while it had nothing in hand."""
    with subprocess.Popen([sys.executable, "-c", SUPERVISE, worker], stdout=subprocess.PIPE, cwd=ROOT) as run:
        assert run.stdout is not None
        assert [run.stdout.readline() for _ in range(2)] == [b"up\n", b"up\n"]
        run.terminate()
        assert run.wait(20) == code
