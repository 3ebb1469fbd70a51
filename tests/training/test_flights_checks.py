"""What the flights' rules reject, blank and count, each with its reason."""

import pytest

from tests.training.timetables import WEATHER, flight, only, sources
from training.features import examples
from training.models.flights import MODEL, RULES, arrange
from training.validation import check_all

pytestmark = pytest.mark.unit


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
