"""Odd values that are counted later are all counted, once, whoever asks."""

import threading
from collections import Counter
from typing import Any

import pytest

from serving.recording.tally import AT_ONCE, RUNS_AT_ONCE, Tally

pytestmark = pytest.mark.unit


def odd(many: list[Any]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Each item is how often `width` was missing."""
    return Counter(), Counter(), Counter(width=sum(many))


def test_what_waits_is_counted_when_somebody_asks() -> None:
    """Not before, and not twice."""
    tally = Tally()
    tally.later(odd, 2, 1)
    tally.later(odd, 3, 1)
    assert tally.missing["width"] == 0
    for _ in range(2):
        tally.settle()
        assert tally.missing["width"] == 5


def test_it_is_time_to_count_when_many_rows_wait() -> None:
    """Of however few runs; then there is time again."""
    tally = Tally()
    tally.later(odd, 1, AT_ONCE - 1)
    assert not tally.due
    tally.later(odd, 1, 1)
    assert tally.due
    tally.settle()
    assert not tally.due


def test_it_is_time_to_count_when_many_runs_wait() -> None:
    """What counting costs a run hardly depends on its rows, and the event loop waits for all of it."""
    tally = Tally()
    for _ in range(RUNS_AT_ONCE):
        assert not tally.due
        tally.later(odd, 1, 1)
    assert tally.due


def test_a_thread_that_asks_meanwhile_loses_nothing() -> None:
    """One adds and counts, another counts and adds what is known at once."""
    tally, times, done = Tally(), 20_000, threading.Event()
    beside = 0

    def ask() -> None:
        nonlocal beside
        while not done.is_set():
            tally.settle()
            tally.oddities({}, {}, {"width": 1})
            beside += 1

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(times):
        tally.later(odd, 1, 1)
        if tally.due:
            tally.settle()
    done.set()
    thread.join()
    tally.settle()
    assert tally.missing["width"] == times + beside
