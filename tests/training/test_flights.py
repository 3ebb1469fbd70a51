"""Published rows become facts at the moment each was known."""

from datetime import UTC, datetime

import polars as pl
import pytest

from tests.training.timetables import WEATHER, cancelled, diverted, flight, sources
from training.features import examples
from training.models.flights import CONTRACT, LEAD, MODEL, RULES, arrange, rows
from training.validation import check_all

pytestmark = pytest.mark.unit


def utc(month, day, hour, minute=0):
    """A moment of 2013."""
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


def only(table, column):
    """The value of a table's single row."""
    (value,) = table[column]
    return value


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


def test_an_impossible_wind_is_blanked_and_counted():
    """1,048 mph is a broken sensor; the other readings of that hour stay."""
    storm = {**WEATHER, "wind_speed": 1048.36058}
    checked = check_all(arrange(sources(flight(), weather=(storm,))), RULES)["weather"]
    assert checked.counts["real_wind"] == 1
    assert checked.sound.select("wind_speed", "temp").row(0) == (None, 39.0)
    assert checked.rejected.is_empty()


def test_a_second_observation_of_one_hour_is_rejected():
    """One hour has one reading; the other is kept apart with the reason."""
    checked = check_all(arrange(sources(flight(), weather=(WEATHER, WEATHER))), RULES)["weather"]
    assert (checked.sound.height, checked.rejected.height) == (1, 1)
    assert only(checked.rejected, "rejected_because") == "one_observation_an_hour"


def test_a_destination_of_unknown_zone_is_kept_and_counted():
    """Without its zone the landing cannot be placed in time, so the flight stays without a label."""
    tables = arrange(sources(flight(dest="XXX")))
    assert tables["landings"].is_empty()
    checked = check_all(tables, RULES)["schedule"]
    assert (checked.sound.height, checked.counts["known_zone"]) == (1, 1)


@pytest.mark.parametrize(
    ("table", "facts", "rule"),
    [
        ("schedule", {"origin": "PHL"}, "known_origin"),
        ("schedule", {"distance": 3}, "real_distance"),
        ("schedule", {"dest": "BOS", "sched_arr_time": 905}, "real_duration"),
        ("departures", {"dep_delay": -61}, "possible_delay"),
        ("landings", {"air_time": 370}, "possible_arrival"),
    ],
)
def test_an_impossible_flight_is_rejected_with_its_reason(table, facts, rule):
    """Each rule catches the row that it exists for, and the sound row passes it."""
    checked = check_all(arrange(sources(flight(**facts))), RULES)[table]
    assert (checked.sound.height, only(checked.rejected, "rejected_because")) == (0, rule)
    assert check_all(arrange(sources(flight())), RULES)[table].rejected.is_empty()


def test_a_flight_listed_twice_counts_once():
    """Its second schedule, departure and landing are rejected, and one example remains."""
    checked = check_all(arrange(sources(flight(), flight(arr_delay=90))), RULES)
    for table in ("schedule", "departures", "landings"):
        assert (checked[table].sound.height, checked[table].rejected.height) == (1, 1), table
    assert examples(MODEL, {name: table.sound for name, table in checked.items()}).height == 1


def test_a_flight_knows_its_local_clock_and_weekday():
    """15 January 2013 was a Tuesday; nine in the morning is minute 540."""
    table = rows(arrange(sources(flight())))
    assert (only(table, "departure_minute"), only(table, "weekday")) == (540, 2)


def waiting(*published):
    """`origin_waiting` and `carrier_origin_waiting` of a flight of UA from JFK, predicted at 14:00 UTC."""
    seen = flight(flight=99, hour=10, time_hour="2013-01-15T15:00:00Z")
    table = examples(MODEL, arrange(sources(seen, *published))).filter(pl.col("id").str.contains("/99/"))
    return table.select("origin_waiting", "carrier_origin_waiting").row(0)


@pytest.mark.parametrize(
    ("published", "waits"),
    [
        pytest.param(flight(dep_delay=10), 1, id="scheduled this minute, leaves in ten"),
        pytest.param(flight(dep_delay=0), 0, id="leaves this minute"),
        pytest.param(flight(dep_delay=-5), 0, id="left early"),
        pytest.param(flight(minute=1), 0, id="scheduled in a minute"),
        pytest.param(flight(hour=8, time_hour="2013-01-15T13:00:00Z", dep_delay=60), 0, id="left just now"),
        pytest.param(
            flight(hour=8, time_hour="2013-01-15T13:00:00Z", dep_delay=61), 1, id="leaves in a minute"
        ),
        pytest.param(flight(hour=7, time_hour="2013-01-15T12:00:00Z", dep_delay=500), 1, id="for two hours"),
        pytest.param(
            flight(hour=6, time_hour="2013-01-15T11:00:00Z", dep_delay=500), 0, id="for three hours"
        ),
        pytest.param(cancelled(hour=8, time_hour="2013-01-15T13:00:00Z"), 1, id="cancelled, since an hour"),
        pytest.param(cancelled(hour=6, time_hour="2013-01-15T11:00:00Z"), 0, id="cancelled, long ago"),
    ],
)
def test_a_flight_waits_from_its_scheduled_minute_until_it_leaves_or_three_hours_have_passed(
    published, waits
):
    """One flight at 14:00 UTC, nine in the morning: does it wait at that moment?"""
    assert waiting(published) == (waits, waits)


def test_flights_wait_at_their_own_airport_and_with_their_own_carrier():
    """Two of UA and one of AA wait at JFK; one at Newark is elsewhere."""
    late = {"dep_delay": 90}
    others = [flight(flight=2, **late), flight(carrier="AA", **late), flight(origin="EWR", **late)]
    assert waiting(flight(**late), *others) == (3, 2)


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


def test_the_three_kinds_of_features_are_declared():
    """What a caller sends, what changes by the day, and the state of the last hours."""
    sources_of = {feature.name: feature.source for feature in CONTRACT.features}
    kinds = {kind: [name for name in sources_of if sources_of[name] == kind] for kind in sources_of.values()}
    assert {kind: len(names) for kind, names in kinds.items()} == {"request": 7, "batch": 19, "stream": 10}
    assert all(feature.aggregate for feature in CONTRACT.features if feature.source == "stream")


def test_no_published_result_of_a_flight_reaches_its_own_features():
    """Two flights that differ only in what happened later have equal features."""
    good, bad = (
        examples(MODEL, arrange(sources(flight(**facts))))
        for facts in ({}, {"dep_delay": 300, "arr_delay": 400, "air_time": 300, "arr_time": 1, "dep_time": 2})
    )
    names = [feature.name for feature in CONTRACT.features]
    assert good.select(names).equals(bad.select(names))
    assert good["label"].to_list() != bad["label"].to_list()
