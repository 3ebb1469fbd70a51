"""Rows as the flights package publishes them, one fact at a time."""

import polars as pl

FLIGHT = {
    "year": 2013,
    "month": 1,
    "day": 15,
    "dep_time": 910,
    "sched_dep_time": 900,
    "dep_delay": 10,
    "arr_time": 1205,
    "sched_arr_time": 1215,
    "arr_delay": -10,
    "carrier": "UA",
    "flight": 1,
    "tailnum": "N1",
    "origin": "JFK",
    "dest": "LAX",
    "air_time": 330,
    "distance": 2475,
    "hour": 9,
    "minute": 0,
    "time_hour": "2013-01-15T14:00:00Z",
}
WEATHER = {
    "origin": "JFK",
    "temp": 39.0,
    "humid": 60.0,
    "wind_speed": 10.5,
    "precip": 0.0,
    "pressure": 1012.0,
    "visib": 10.0,
    "time_hour": "2013-01-15T12:00:00Z",
}
PLANE = {"tailnum": "N1", "year": 1999, "seats": 180}
ZONES = {
    "LAX": "America/Los_Angeles",
    "SFO": "America/Los_Angeles",
    "PHX": "America/Phoenix",
    "BOS": "America/New_York",
    "HNL": "Pacific/Honolulu",
}


def flight(**facts):
    """A flight from JFK to Los Angeles on a January morning, but for the facts given."""
    return {**FLIGHT, **facts}


def cancelled(**facts):
    """A flight that never left."""
    gone = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"))
    return {**FLIGHT, **gone, **facts}


def diverted(**facts):
    """A flight that left and landed somewhere else."""
    return {**FLIGHT, "arr_delay": None, "air_time": None, **facts}


def sources(*flights, weather=(WEATHER,), planes=(PLANE,)):
    """The four published tables."""
    types = {name: pl.Int64 if isinstance(value, int) else pl.String for name, value in FLIGHT.items()}
    airports = [{"faa": code, "tzone": zone} for code, zone in ZONES.items()]
    readings = {
        name: pl.Float64 if isinstance(value, float) else pl.String for name, value in WEATHER.items()
    }
    return {
        "flights": pl.DataFrame(list(flights), schema=types),
        "weather": pl.DataFrame(list(weather), schema=readings),
        "planes": pl.DataFrame(
            list(planes), schema={"tailnum": pl.String, "year": pl.Int64, "seats": pl.Int64}
        ),
        "airports": pl.DataFrame(airports),
    }


def only(table, column):
    """The value of a table's single row."""
    (value,) = table[column]
    return value
