"""The published tables as facts, each with the moment at which it became known."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from training.model import AT, ID, Tables

DAY = 1440  # minutes

# The four destinations that the airport table lacks; all keep Atlantic time.
UNLISTED_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


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
    keys = [ID, "carrier", "flight", "origin", "dest", "hour"]
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
