"""The benchmark of rows a second counts what was really asked."""

import threading
from contextlib import contextmanager

import pytest

from benchmarks import rows

pytestmark = pytest.mark.unit


def test_what_is_counted_was_asked_at_once() -> None:
    """Each caller's first request is not counted, and all of them begin together."""
    seen: list[int] = []

    @contextmanager
    def way():
        yield lambda: seen.append(threading.get_ident())

    count, took = rows.ask_at_once(way, 0.02, at_once=3)
    assert count == len(seen) - 3
    assert took >= 0.02
    assert len(set(seen)) == 3


def test_a_failing_request_fails_the_measurement() -> None:
    """Nobody waits for a caller that never came."""

    def way():
        raise ConnectionError("nobody listens")

    with pytest.raises((ConnectionError, threading.BrokenBarrierError)):
        rows.ask_at_once(way, 0.02, at_once=2)
