"""Published rows become facts at the moment each was known."""

from datetime import UTC, datetime

import pytest

from tests.training.timetables import cancelled, diverted, flight, only, sources
from training.features import examples
from training.models.flights import CONTRACT, LEAD, MODEL, RULES, arrange, rows
from training.validation import check_all

pytestmark = pytest.mark.unit


def utc(month, day, hour, minute=0):
    """A moment of 2013."""
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "leaves", "minutes", "lands"),
    [
        pytest.param({}, utc(1, 15, 14, 10), 375, utc(1, 15, 20, 5), id="transcontinental"),
        pytest.param(
            {"time_hour": "2013-01-16T02:00:00Z", "dest": "SFO", "sched_arr_time": 25, "arr_delay": 5},
            utc(1, 16, 2, 10),
            385,
            utc(1, 16, 8, 30),
            id="past midnight",
        ),
        pytest.param(
            {"time_hour": "2013-01-15T23:00:00Z", "minute": 30, "dest": "BOS", "sched_arr_time": 10},
            utc(1, 15, 23, 40),
            340,
            utc(1, 16, 5, 0),
            id="lands after midnight here and in UTC",
        ),
        pytest.param(
            {"time_hour": "2013-01-16T04:00:00Z", "minute": 59, "dest": "SJU", "sched_arr_time": 444},
            utc(1, 16, 5, 9),
            225,
            utc(1, 16, 8, 34),
            id="overnight to Puerto Rico in winter",
        ),
        pytest.param(
            {"month": 7, "time_hour": "2013-07-15T12:00:00Z", "dest": "SJU", "sched_arr_time": 1150},
            utc(7, 15, 12, 10),
            230,
            utc(7, 15, 15, 40),
            id="Puerto Rico keeps no summer time",
        ),
        pytest.param(
            {"time_hour": "2013-01-15T13:00:00Z", "dest": "PHX", "sched_arr_time": 1110},
            utc(1, 15, 13, 10),
            310,
            utc(1, 15, 18, 0),
            id="Arizona in winter",
        ),
        pytest.param(
            {"month": 7, "time_hour": "2013-07-15T12:00:00Z", "dest": "PHX", "sched_arr_time": 1010},
            utc(7, 15, 12, 10),
            310,
            utc(7, 15, 17, 0),
            id="Arizona keeps no summer time",
        ),
        pytest.param(
            {"month": 3, "day": 10, "time_hour": "2013-03-10T13:00:00Z"},
            utc(3, 10, 13, 10),
            375,
            utc(3, 10, 19, 5),
            id="the day the clocks go forward",
        ),
        pytest.param(
            {"month": 11, "day": 3, "time_hour": "2013-11-03T14:00:00Z"},
            utc(11, 3, 14, 10),
            375,
            utc(11, 3, 20, 5),
            id="the day the clocks go back",
        ),
        pytest.param(
            {"time_hour": "2013-01-15T15:00:00Z", "dest": "HNL", "sched_arr_time": 1540, "dep_delay": -5},
            utc(1, 15, 14, 55),
            640,
            utc(1, 16, 1, 30),
            id="Honolulu, a day later in UTC",
        ),
        pytest.param(
            {"dep_delay": 1301, "arr_delay": 1272},
            utc(1, 16, 11, 41),
            375,
            utc(1, 16, 17, 27),
            id="a day late",
        ),
        pytest.param(
            {"dest": "BOS", "sched_arr_time": 1005},
            utc(1, 15, 14, 10),
            65,
            utc(1, 15, 14, 55),
            id="same zone",
        ),
    ],
)
def test_departures_and_landings_are_placed_in_utc(facts, leaves, minutes, lands):
    """Wall clocks of two zones become two moments and the minutes between them."""
    tables = arrange(sources(flight(**facts)))
    assert only(tables["departures"], "at") == leaves
    assert only(tables["schedule"], "scheduled_minutes") == minutes
    assert only(tables["landings"], "at") == lands


def test_a_cancelled_flight_is_scheduled_and_nothing_else():
    """No departure, no landing, so no label."""
    tables = arrange(sources(cancelled()))
    assert [tables[name].height for name in ("schedule", "departures", "landings")] == [1, 0, 0]
    assert only(rows(tables), "label") is None
    assert only(rows(tables), "label_at") is None


def test_a_diverted_flight_leaves_and_never_lands():
    """Its departure tells something; it has no label."""
    tables = arrange(sources(diverted()))
    assert [tables[name].height for name in ("schedule", "departures", "landings")] == [1, 1, 0]
    assert only(rows(tables), "label") is None


@pytest.mark.parametrize(("delay", "label"), [(15, 0), (16, 1), (-30, 0)])
def test_late_is_more_than_fifteen_minutes(delay, label):
    """Fifteen minutes are still on time."""
    assert only(rows(arrange(sources(flight(arr_delay=delay)))), "label") == label


def test_a_prediction_is_made_an_hour_before_departure_and_its_label_comes_with_the_landing():
    """The example's moment is the schedule's, whatever the flight then did."""
    table = rows(arrange(sources(flight(minute=30, dep_delay=200))))
    assert only(table, "at") == utc(1, 15, 13, 30)
    assert only(table, "label_at") == utc(1, 15, 20, 5)
    assert LEAD == CONTRACT.lead_minutes == 60


def test_a_flight_without_a_tail_number_is_kept_with_an_unknown_plane():
    """It is counted, and its plane's year and seats are missing."""
    checked = check_all(arrange(sources(flight(tailnum=None))), RULES)
    assert checked["schedule"].counts["tail_number"] == 1
    example = examples(MODEL, {name: table.sound for name, table in checked.items()})
    assert only(example, "plane_year") is None
    assert only(example, "plane_seats") is None


def test_a_plane_without_a_record_is_unknown():
    """A tail number that the registry lacks is no reason to lose the flight."""
    example = examples(MODEL, arrange(sources(flight(tailnum="N2"))))
    assert example.select("plane_year", "plane_seats").row(0) == (None, None)


def test_without_weather_its_features_are_missing():
    """Missing is not zero."""
    example = examples(MODEL, arrange(sources(flight(), weather=())))
    weather = [feature.name for feature in CONTRACT.features if feature.name.startswith("weather_")]
    assert len(weather) == 6
    assert example.select(weather).row(0) == (None,) * 6


def test_weather_is_known_one_hour_after_its_hour_began():
    """A reading may be as late as the 51st minute of its hour."""
    tables = arrange(sources(flight()))
    assert only(tables["weather"], "at") == utc(1, 15, 13)
    assert only(examples(MODEL, tables), "weather_temp") == 39.0
    earlier = flight(minute=0, hour=8, time_hour="2013-01-15T13:00:00Z")
    assert only(examples(MODEL, arrange(sources(earlier))), "weather_temp") is None


def test_a_flight_knows_its_local_clock_and_weekday():
    """15 January 2013 was a Tuesday; nine in the morning is minute 540."""
    table = rows(arrange(sources(flight())))
    assert (only(table, "departure_minute"), only(table, "weekday")) == (540, 2)


def test_the_three_kinds_of_features_are_declared():
    """What a caller sends, what changes by the day, and the state of the last hours."""
    sources_of = {feature.name: feature.source for feature in CONTRACT.features}
    kinds = {kind: [name for name in sources_of if sources_of[name] == kind] for kind in sources_of.values()}
    assert {kind: len(names) for kind, names in kinds.items()} == {"request": 7, "batch": 19, "stream": 10}
    assert all(feature.aggregate for feature in CONTRACT.features if feature.source == "stream")
