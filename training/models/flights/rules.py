"""What a sound row of each raw table is."""

import polars as pl

from training.model import AT, ID
from training.models.flights.contract import ORIGINS
from training.validation import Rule

GALE = 150  # mph; beyond it the sensor is broken
JET_AGE = 1940

RULES = {
    "schedule": (
        Rule("known_origin", "the origin is none of the three airports", pl.col("origin").is_in(ORIGINS)),
        Rule("one_flight_a_day", "a second row of one flight on one day", pl.col(ID).is_first_distinct()),
        Rule(
            "real_distance", "a distance that no domestic flight has", pl.col("distance").is_between(10, 6000)
        ),
        Rule(
            "real_duration",
            "no flight from New York is scheduled for under 15 minutes or over 15 hours",
            pl.col("scheduled_minutes").is_between(15, 900),
        ),
        Rule(
            "known_zone",
            "the destination's time zone is unknown: its landing has no place in time, so no label comes",
            pl.col("scheduled_minutes").is_not_null(),
            ("scheduled_minutes",),
        ),
        Rule(
            "tail_number",
            "no tail number: the plane stays unknown",
            pl.col("tailnum").is_not_null(),
            ("tailnum",),
        ),
    ),
    "departures": (
        Rule("one_departure", "a second departure of one flight", pl.col(ID).is_first_distinct()),
        Rule(
            "possible_delay",
            "left over an hour early or over two days late",
            pl.col("delay").is_between(-60, 2880),
        ),
    ),
    "landings": (
        Rule("one_landing", "a second landing of one flight: two labels", pl.col(ID).is_first_distinct()),
        Rule(
            "possible_arrival",
            "landed before it could have flown the distance",
            pl.col("departed_at") + pl.duration(minutes=pl.col("air_time")) <= pl.col(AT),
        ),
    ),
    "weather": (
        Rule(
            "one_observation_an_hour",
            "a second observation of one origin and hour: which of the two holds is unknown",
            pl.struct("origin", AT).is_first_distinct(),
        ),
        Rule(
            "real_wind",
            "a wind over 150 mph is a broken sensor",
            pl.col("wind_speed") <= GALE,
            ("wind_speed",),
        ),
        Rule("real_temperature", "outside -30 to 120 F", pl.col("temp").is_between(-30, 120), ("temp",)),
    ),
    "planes": (
        Rule("real_year", "built before 1940", pl.col("plane_year") >= JET_AGE, ("plane_year",)),
        Rule(
            "one_record_a_plane", "a second record of one tail number", pl.col("tailnum").is_first_distinct()
        ),
    ),
}
