"""What a flight's past tells at the moment of prediction: who waits, who was delayed, who landed late."""

import polars as pl
import pytest

from tests.training.timetables import cancelled, flight, sources
from training.features import examples
from training.models.flights import CONTRACT, MODEL, arrange

WAITING = [
    pytest.param(flight(dep_delay=10), 1, id="scheduled this minute, leaves in ten"),
    pytest.param(flight(dep_delay=0), 0, id="leaves this minute"),
    pytest.param(flight(dep_delay=-5), 0, id="left early"),
    pytest.param(flight(minute=1), 0, id="scheduled in a minute"),
    pytest.param(flight(hour=8, time_hour="2013-01-15T13:00:00Z", dep_delay=60), 0, id="left just now"),
    pytest.param(flight(hour=8, time_hour="2013-01-15T13:00:00Z", dep_delay=61), 1, id="leaves in a minute"),
    pytest.param(flight(hour=7, time_hour="2013-01-15T12:00:00Z", dep_delay=500), 1, id="for two hours"),
    pytest.param(flight(hour=6, time_hour="2013-01-15T11:00:00Z", dep_delay=500), 0, id="for three hours"),
    pytest.param(cancelled(hour=8, time_hour="2013-01-15T13:00:00Z"), 1, id="cancelled, since an hour"),
    pytest.param(cancelled(hour=6, time_hour="2013-01-15T11:00:00Z"), 0, id="cancelled, long ago"),
]


def on_day(day, published):
    """The same flight on another day of January 2013."""
    return {**published, "day": day, "time_hour": published["time_hour"].replace("-15T", f"-{day:02}T")}


def waiting(*published):
    """By day, `origin_waiting` and `carrier_origin_waiting` of a flight of UA from JFK, seen at 14:00 UTC."""
    days = {one["day"] for one in published}
    seen = [on_day(day, flight(flight=99, hour=10, time_hour="2013-01-15T15:00:00Z")) for day in days]
    table = examples(MODEL, arrange(sources(*seen, *published))).filter(pl.col("id").str.contains("/99/"))
    return {
        row[0].day: row[1:] for row in table.select("at", "origin_waiting", "carrier_origin_waiting").rows()
    }


@pytest.fixture(scope="module")
def waiting_by_day():
    """Every case on a day of its own, in one computation: no window reaches from one day into the next."""
    return waiting(*(on_day(day, case.values[0]) for day, case in enumerate(WAITING, start=1)))


@pytest.mark.parametrize(
    ("day", "waits"),
    [pytest.param(day, case.values[1], id=case.id) for day, case in enumerate(WAITING, start=1)],
)
def test_a_flight_waits_from_its_scheduled_minute_until_it_leaves_or_three_hours_have_passed(
    waiting_by_day, day, waits
):
    """One flight at 14:00 UTC, nine in the morning: does it wait at that moment?"""
    assert waiting_by_day[day] == (waits, waits)


def test_flights_wait_at_their_own_airport_and_with_their_own_carrier():
    """Two of UA and one of AA wait at JFK; one at Newark is elsewhere."""
    late = {"dep_delay": 90}
    others = [flight(flight=2, **late), flight(carrier="AA", **late), flight(origin="EWR", **late)]
    assert waiting(flight(**late), *others) == {15: (3, 2)}


def test_a_flight_knows_its_scheduled_hour_and_how_flights_of_that_hour_did():
    """Yesterday at nine one of two landed late; the flight at ten is of another hour."""
    eve = {"day": 14, "time_hour": "2013-01-14T14:00:00Z"}
    before = [flight(**eve, arr_delay=60), flight(**eve, flight=2)]
    other = flight(flight=3, day=14, hour=10, time_hour="2013-01-14T15:00:00Z", arr_delay=60)
    table = examples(MODEL, arrange(sources(*before, other, flight())))
    last = table.filter(pl.col("id") == "2013-01-15/UA/1/JFK")
    assert last.select("hour_late_rate_28d", "hour_late_rate_7d").row(0) == (0.5, 0.5)
    assert last.select("origin_late_rate_7d", "carrier_flight_landings_28d").row(0) == (2 / 3, 1.0)


def test_a_landing_of_eight_days_ago_is_in_the_long_window_alone():
    """Late then, and unknown for the last week."""
    old = flight(day=7, time_hour="2013-01-07T14:00:00Z", arr_delay=60)
    last = examples(MODEL, arrange(sources(old, flight())))[-1]
    for name in ("carrier", "origin", "hour", "origin_dest", "carrier_flight"):
        assert last.select(f"{name}_late_rate_28d", f"{name}_late_rate_7d").row(0) == (1.0, None), name


def test_delayed_departures_are_counted():
    """Of three departures in the last two hours one was over fifteen minutes late."""
    eight = {"hour": 8, "time_hour": "2013-01-15T13:00:00Z"}
    before = [
        flight(**eight, flight=number, dep_delay=delay) for number, delay in ((2, 16), (3, 15), (4, -2))
    ]
    last = examples(MODEL, arrange(sources(*before, flight(hour=10, time_hour="2013-01-15T15:00:00Z"))))[-1]
    assert last.select("origin_delayed_2h", "carrier_origin_delayed_3h", "origin_departed_2h").row(0) == (
        1,
        1,
        3,
    )


def test_no_published_result_of_a_flight_reaches_its_own_features():
    """Two flights that differ only in what happened later have equal features."""
    good, bad = (
        examples(MODEL, arrange(sources(flight(**facts))))
        for facts in ({}, {"dep_delay": 300, "arr_delay": 400, "air_time": 300, "arr_time": 1, "dep_time": 2})
    )
    names = [feature.name for feature in CONTRACT.features]
    assert good.select(names).equals(bad.select(names))
    assert good["label"].to_list() != bad["label"].to_list()
