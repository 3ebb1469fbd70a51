"""Odd values that are counted later are all counted, once, whoever asks."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from serving.recording.tally import AT_ONCE, Found, Tally

pytestmark = pytest.mark.unit


class Odd:
    """Each item is how often `width` was missing, and how often it was out of range: a part for either."""

    def count(self, runs: list[Any]) -> Iterator[Found]:
        """As a plan does."""
        yield {}, {}, {"width": sum(runs)}
        yield {"width": sum(runs)}, {}, {}


ODD = Odd()


def test_what_waits_is_counted_when_somebody_asks() -> None:
    """Not before, and not twice."""
    tally = Tally()
    tally.later(ODD, 2, 1)
    tally.later(Odd(), 3, 1)
    assert tally.missing["width"] == 0
    for _ in range(2):
        tally.settle()
        assert (tally.missing["width"], tally.out_of_range["width"]) == (5, 5)


def test_it_is_time_to_count_when_many_rows_wait() -> None:
    """Of however few runs; then there is time again."""
    tally = Tally()
    tally.later(ODD, 1, AT_ONCE - 1)
    assert not tally.due
    tally.later(ODD, 1, 1)
    assert tally.due
    tally.settle()
    assert not tally.due


def test_a_part_at_a_time_counts_all() -> None:
    """What comes meanwhile is for the next time, which does not begin before this one has ended."""
    tally = Tally()
    tally.later(ODD, 2, AT_ONCE)
    assert tally.settle_some()
    tally.later(ODD, 3, AT_ONCE)
    assert (tally.missing["width"], tally.out_of_range["width"], tally.due) == (2, 0, False)
    assert tally.settle_some()
    assert not tally.settle_some()
    assert (tally.missing["width"], tally.out_of_range["width"], tally.due) == (2, 2, True)


def test_who_asks_while_a_part_is_counted_gets_all() -> None:
    """A scrape between two parts misses nothing, and the parts that were left are not counted twice."""
    tally = Tally()
    tally.later(ODD, 2, 1)
    assert tally.settle_some()
    tally.later(ODD, 3, 1)
    tally.settle()
    assert (tally.missing["width"], tally.out_of_range["width"]) == (5, 5)
    tally.later(ODD, 1, AT_ONCE)
    assert tally.due


def test_a_thread_that_asks_meanwhile_loses_nothing() -> None:
    """One adds and counts part by part, another counts and adds what is known at once."""
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
        tally.later(ODD, 1, 1)
        tally.settle_some()
    done.set()
    thread.join()
    tally.settle()
    assert tally.missing["width"] == times + beside
    assert tally.out_of_range["width"] == times
