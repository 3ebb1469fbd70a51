"""The whole published year: what the arrangement makes of it, against columns that it does not read."""

import polars as pl

from tests.training.timetables import FLIGHT, PLANE, WEATHER
from training.models.flights import RULES
from training.models.flights.sources import UNLISTED_ZONES
from training.validation import check_all


def clock(moment):
    """The wall clock as published: 1405 for five past two."""
    return moment.dt.hour().cast(pl.Int64) * 100 + moment.dt.minute()


def with_published(table, published, *columns):
    """The facts beside the published columns of the same flight."""
    year = published["flights"].with_columns(
        pl.format(
            "{}-{}-{}/{}/{}/{}",
            "year",
            pl.col("month").cast(pl.String).str.zfill(2),
            pl.col("day").cast(pl.String).str.zfill(2),
            "carrier",
            "flight",
            "origin",
        ).alias("id")
    )
    return table.join(year.select("id", *columns), on="id")


def test_every_flight_has_an_id_of_its_own(arranged):
    """336,776 rows, 336,776 ids, in each table at most once."""
    assert arranged["schedule"].height == 336_776
    for table in ("schedule", "departures", "landings"):
        assert arranged[table]["id"].is_unique().all()


def test_no_flight_is_lost(arranged):
    """8,255 cancelled and 1,175 diverted flights are all that has no landing."""
    assert arranged["departures"].height == 336_776 - 8_255
    assert arranged["landings"].height == 336_776 - 8_255 - 1_175


def test_departures_leave_at_the_published_wall_clock(arranged, published):
    """Schedule plus delay is the published departure, for every flight of the year."""
    table = with_published(arranged["departures"], published, "dep_time")
    local = clock(table["at"].dt.convert_time_zone("America/New_York"))
    assert (local != table["dep_time"] % 2400).sum() == 0


def test_landings_land_at_the_published_wall_clock_of_their_destination(arranged, published):
    """An independent column agrees for all but one landing, which was written down an hour off.

    On the night the clocks went forward one flight's arrival was published in the old time.
    """
    airports = dict(published["airports"].select("faa", "tzone").iter_rows())
    table = with_published(arranged["landings"], published, "arr_time").with_columns(
        pl.col("dest").replace_strict({**airports, **UNLISTED_ZONES}).alias("zone")
    )
    off = pl.concat(
        part.filter(clock(part["at"].dt.convert_time_zone(zone)) != part["arr_time"] % 2400)
        for (zone,), part in table.partition_by("zone", as_dict=True).items()
    )
    assert off["id"].to_list() == ["2013-03-09/B6/35/JFK"]


def test_no_landing_is_known_before_the_flight_could_have_flown(arranged):
    """Departure plus time in the air is a bound that no landing undercuts."""
    flown = pl.col("departed_at") + pl.duration(minutes=pl.col("air_time"))
    assert arranged["landings"].filter(pl.col("at") < flown).is_empty()


def test_weather_is_known_an_hour_after_its_published_hour(arranged, published):
    """The local hour that the source also publishes agrees, on days of clock changes too."""
    hours = published["weather"].select("origin", pl.datetime("year", "month", "day", "hour").alias("local"))
    local = arranged["weather"].select(
        "origin",
        (pl.col("at") - pl.duration(hours=1))
        .dt.convert_time_zone("America/New_York")
        .dt.replace_time_zone(None)
        .alias("local"),
    )
    assert local.sort("origin", "local").equals(hours.sort("origin", "local"))


def test_the_year_holds_exactly_these_defects(arranged):
    """What is caught in the published data is known; anything new would be a change of ours."""
    checked = check_all(arranged, RULES)
    caught = {rule: n for table in checked.values() for rule, n in table.counts.items() if n}
    assert caught == {"tail_number": 2512, "real_wind": 1}
    assert sum(table.rejected.height for table in checked.values()) == 0


def test_hand_made_timetables_have_the_published_columns(published):
    """Were a column renamed, the tests on hand-made rows would test nothing."""
    assert list(FLIGHT) == published["flights"].columns
    for table, facts in (("weather", WEATHER), ("planes", PLANE)):
        assert set(facts) <= set(published[table].columns)
