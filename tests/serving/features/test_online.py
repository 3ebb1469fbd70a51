"""Aggregates kept up to date event by event: what counts, what is forgotten, what is refused."""

import math
from datetime import datetime

import pytest

from contract.errors import FlightlineError
from serving.features.online import OnlineFeatures
from tests.training.worlds import declared, minute, past

pytestmark = pytest.mark.unit

STATISTICS = ("mean", "count", "sum", "latest")
JFK = {"origin": "JFK", "carrier": "UA"}


def online(*specs, facts=()):
    """The interpreter of `specs` after departures of UA from JFK, each a (moment, delay)."""
    found = OnlineFeatures(declared(*specs))
    for at, delay in facts:
        found.observe("departures", at, {**JFK, "delay": delay})
    return found


def answer(found, at=None, **keys):
    """The features at noon."""
    return tuple(found.values({**JFK, **keys}, minute(0) if at is None else at).values())


def test_each_statistic_is_the_hand_computed_one():
    """Delays of 10, 20 and 60 minutes in the last hour: mean 30, count 3, sum 90, latest 20."""
    found = online(*map(past, STATISTICS), facts=[(minute(-50), 10), (minute(-30), 60), (minute(-5), 20)])
    assert answer(found) == (30.0, 3.0, 90.0, 20.0)


def test_a_window_is_open_at_its_far_end_and_closed_at_the_moment():
    """An event at noon counts at noon and no longer an hour later."""
    found = online(*map(past, STATISTICS), facts=[(minute(0), 7)])
    assert answer(found) == (7.0, 1.0, 7.0, 7.0)
    assert answer(found, minute(60)) == (None, 0.0, 0.0, None)
    assert answer(found, minute(59, seconds=59)) == (7.0, 1.0, 7.0, 7.0)
    assert answer(found, minute(-1)) == (None, 0.0, 0.0, None)


def test_without_an_end_the_first_event_still_counts():
    """A window of no minutes reaches back to it, also when moments before noon are forgotten."""
    found = online(
        *(past(name, 0) for name in STATISTICS), facts=[(minute(-90_000), 3), (minute(-80_000), 4)]
    )
    found.forget(minute(0))
    assert answer(found) == (3.5, 2.0, 7.0, 4.0)
    assert found.moments == 1


def test_forgetting_beside_an_endless_window_leaves_the_other_whole():
    """What happened an hour and a half ago counts in the endless one alone."""
    found = online(past("sum", 0), past("sum", 60), facts=[(minute(-90), 3), (minute(-30), 4)])
    found.forget(minute(0))
    assert answer(found) == (7.0, 4.0)


def test_a_late_event_is_put_where_it_belongs_and_counted():
    """It comes last and is not the latest."""
    found = online(*map(past, STATISTICS), facts=[(minute(-5), 20), (minute(-30), 60)])
    assert answer(found) == (40.0, 2.0, 80.0, 20.0)
    assert answer(found, minute(-10)) == (60.0, 1.0, 60.0, 60.0)
    assert (found.observed["departures"], found.late["departures"]) == (2, 1)
    assert found.expired["departures"] == 0


def test_an_event_that_comes_too_late_for_any_look_up_is_counted_as_such():
    """Noon and later is all that may be asked, and its window ended before."""
    found = online(past("count", 60))
    found.forget(minute(0))
    for late in (-10, -59, -60, -600):
        found.observe("departures", minute(late), {**JFK})
    assert answer(found) == (2.0,)
    assert (found.late["departures"], found.expired["departures"]) == (3, 2)


def test_what_is_forgotten_is_not_answered():
    """Rather a refusal than a wrong number."""
    found = online(past("count"), facts=[(minute(-5), 1)])
    found.forget(minute(0))
    found.forget(minute(-30))  # never back
    assert answer(found) == (1.0,)
    with pytest.raises(FlightlineError, match="need events that were forgotten"):
        answer(found, minute(-1))


def test_memory_holds_what_the_longest_window_reaches():
    """Days of an event a minute, forgotten by the hour, keep two hours; a key without events, nothing."""
    found = online(past("mean", 60), past("sum", 30))
    found.observe("departures", minute(0), {"origin": "EWR", "carrier": "AA", "delay": 1})
    most = 0
    for now in range(5000):
        found.observe("departures", minute(now), {**JFK, "delay": now % 7})
        if now % 60 == 0:
            found.forget(minute(now))
        most = max(most, found.moments)
    assert most <= 2 * 60 + 2
    assert found.values({"origin": "EWR"}, minute(5000)) == {"f0": None, "f1": 0.0}
    found.forget(minute(6000))
    assert found.moments == 0


def test_an_unknown_key_has_no_past():
    """Neither a null one, not even with events of a null key, nor one to which nothing happened."""
    found = online(past("count"), past("mean"))
    found.observe("departures", minute(-1), {"origin": None, "delay": 3})
    assert answer(found, origin=None) == (0.0, None)
    assert answer(found, origin="LGA") == (0.0, None)


def test_keys_and_streams_do_not_mix():
    """Another carrier, another airport and another stream are others."""
    both = past("sum", by=("origin", "carrier"))
    found = online(both, past("sum", stream="landings"), facts=[(minute(-1), 1)])
    found.observe("departures", minute(-1), {"origin": "JFK", "carrier": "AA", "delay": 10})
    found.observe("landings", minute(-1), {"origin": "JFK", "delay": 100})
    assert answer(found) == (1.0, 100.0)
    assert found.streams == ("departures", "landings")


@pytest.mark.parametrize(
    ("stream", "at", "facts", "words"),
    [
        ("departure", minute(0), {**JFK, "delay": 1}, "no feature reads a stream 'departure'"),
        ("departures", minute(0), {"carrier": "UA", "delay": 1}, "departures says nothing of 'origin'"),
        ("departures", minute(0), {**JFK}, "departures says nothing of 'delay'"),
        ("departures", minute(0), {**JFK, "delay": 0.5}, "departures gives 'delay' as 0.5"),
        ("departures", minute(0), {**JFK, "delay": "1"}, "departures gives 'delay' as '1'"),
        (
            "departures",
            minute(0),
            {"origin": 1.5, "carrier": "UA", "delay": 1},
            "departures gives 'origin' as 1.5",
        ),
        ("departures", datetime(2013, 1, 1), {**JFK, "delay": 1}, "has no time zone"),  # noqa: DTZ001 - without a zone, as is refused
    ],
)
def test_an_event_that_cannot_be_meant_is_refused_and_leaves_no_trace(stream, at, facts, words):
    """The sentence names what is wrong."""
    found = online(past("mean"), past("count", by=("carrier",)))
    with pytest.raises(FlightlineError, match=words):
        found.observe(stream, at, facts)
    assert (found.moments, found.observed.total()) == (0, 0)


@pytest.mark.parametrize("reading", [math.nan, math.inf, "warm"])
def test_a_reading_that_is_no_number_is_refused(reading):
    """A latest value may be a fraction, and nothing stranger."""
    found = online(past("latest"))
    found.observe("departures", minute(-1), {**JFK, "delay": 29.9})
    with pytest.raises(FlightlineError, match="a finite number"):
        found.observe("departures", minute(0), {**JFK, "delay": reading})
    assert answer(found) == (29.9,)


def test_a_look_up_without_a_key_is_refused():
    """A missing key is a mistake of the caller; an unknown one is null."""
    with pytest.raises(FlightlineError, match="a look-up says nothing of 'origin'"):
        online(past("count")).values({}, minute(0))
