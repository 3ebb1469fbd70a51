"""Small worlds of events, and the plainest possible answer to what a feature of them is."""

from datetime import UTC, datetime, timedelta

import polars as pl

from contract.schema import Aggregate, Contract, Feature

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")
ROW = {"id": pl.String, "at": MOMENT, "origin": pl.String, "carrier": pl.String}
EVENT = {"at": MOMENT, "origin": pl.String, "carrier": pl.String, "delay": pl.Int64}


def minute(number, *, seconds=0):
    """The moment so many minutes after noon; before noon where negative."""
    return NOON + timedelta(minutes=number, seconds=seconds)


def rows(*moments, origin="JFK", carrier="UA"):
    """One row a moment, with ids `r0`, `r1` and so on."""
    table = [(f"r{number}", at, origin, carrier) for number, at in enumerate(moments)]
    return pl.DataFrame(table, schema=ROW, orient="row")


def events(*facts, origin="JFK", carrier="UA"):
    """One event a (moment, delay)."""
    return pl.DataFrame([(at, origin, carrier, delay) for at, delay in facts], schema=EVENT, orient="row")


def declared(*specs):
    """A contract with one aggregate feature a specification, named `f0`, `f1` and so on."""
    return Contract(
        model="world",
        features=tuple(
            Feature(name=f"f{number}", kind="number", description="", source="stream", aggregate=spec)
            for number, spec in enumerate(specs)
        ),
        target="",
        classes=("a", "b"),
        scores="probability",
    )


def past(statistic, window=60, *, by=("origin",), stream="departures"):
    """`statistic` of the delay over `window` minutes."""
    return Aggregate(stream, by, statistic, window, "" if statistic == "count" else "delay")


def oracle(table, streams, contract):
    """Every aggregate of every row, by looking at every event: feature -> values in the order of ids."""
    found = {}
    for feature in contract.features:
        spec = feature.aggregate
        found[feature.name] = [
            _one(row, spec, streams[spec.events]) for row in table.sort("id").iter_rows(named=True)
        ]
    return found


def _one(row, spec, stream):
    start = row["at"] - timedelta(minutes=spec.window_minutes)
    seen = [
        event
        for event in stream.iter_rows(named=True)
        if (spec.endless or start < event["at"])
        and event["at"] <= row["at"]
        and all(row[key] is not None and event[key] == row[key] for key in spec.by)
    ]
    if spec.statistic == "count":
        return float(len(seen))
    if spec.statistic == "latest":
        last = max((event["at"] for event in seen), default=None)
        values = [event[spec.value] for event in seen if event["at"] == last]
        return max((float(value) for value in values if value is not None), default=None)
    values = [event[spec.value] for event in seen if event[spec.value] is not None]
    if spec.statistic == "sum":
        return float(sum(values))
    return sum(values) / len(values) if values else None
