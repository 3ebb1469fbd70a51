"""No feature of a flight uses anything that became known after its moment of prediction."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from training.features import aggregates
from training.models.flights import MODEL

WEEK = datetime(2013, 2, 8, tzinfo=UTC), datetime(2013, 2, 15, tzinfo=UTC)
ROWS = 8  # at most, of each moment


@pytest.fixture(scope="module")
def fortnight(february):
    """Only a few days before the week: enough to see a leak, though not for a month's rate."""
    start = WEEK[0] - timedelta(days=4)
    return {
        name: table.filter(pl.col(MODEL.known_at[name]) >= start) if name in MODEL.known_at else table
        for name, table in february.items()
    }


def sample(tables, moments):
    """Some of the flights that were predicted at each of a few moments of the week."""
    week = MODEL.rows(tables).filter(pl.col("at").is_between(*WEEK))
    busy = week.group_by("at").len().filter(pl.col("len") >= 5).sort("at")["at"]
    chosen = busy.sample(moments, seed=11).sort()
    return {at: week.filter(pl.col("at") == at).sort("id").head(ROWS)["id"] for at in chosen}


def features(model, tables, facts, ids):
    """The features of the flights `ids`, with events out of `tables` and the rest out of `facts`."""
    rows = model.rows(facts).filter(pl.col("id").is_in(ids.implode()))
    past = aggregates(rows, model.events(tables), model.contract)
    names = [feature.name for feature in model.contract.features]
    return rows.join(past, on="id").sort("id").select("id", *names)


def known_too_early(model, tables, moments=2):
    """The features that come out differently when only what was known at each moment is there."""
    chosen = sample(tables, moments)
    whole = features(model, tables, tables, pl.concat(chosen.values()))
    suspects = set()
    for at, ids in chosen.items():
        known = MODEL.known(tables, at)
        # The timetable is published months ahead; everything else is cut at the moment.
        then = features(model, known, {**known, "schedule": tables["schedule"]}, ids)
        now = whole.filter(pl.col("id").is_in(ids.implode()))
        suspects |= {name for name in then.columns if not then[name].equals(now[name])}
    return suspects


def broken(**streams):
    """The flights model with some of its event streams remade."""

    def events(tables):
        sound = MODEL.events(tables)
        return {**sound, **{name: remake(sound[name]) for name, remake in streams.items()}}

    return replace(MODEL, events=events)


def test_features_are_the_same_from_what_was_known_then(february):
    """About fifty flights of a real week, recomputed from tables cut at their moment of prediction."""
    assert sum(len(ids) for ids in sample(february, 7).values()) >= 40
    assert known_too_early(MODEL, february, moments=7) == set()


def test_features_of_the_sample_are_mostly_there(february):
    """Two empty columns would be equal, too."""
    table = features(MODEL, february, february, pl.concat(sample(february, 7).values()))
    missing = {name: count for name, count in table.null_count().row(0, named=True).items() if count > 15}
    assert missing == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "remake", "suspects"),
    [
        pytest.param(
            "landings",
            lambda table: table.with_columns(pl.col("departed_at").alias("at")),
            {"carrier_late_rate_28d", "origin_late_rate_7d", "origin_arrival_delay_3h"},
            id="landings at their departure",
        ),
        pytest.param(
            "departures",
            lambda table: table.with_columns(pl.col("at") - pl.duration(minutes=pl.col("delay"))),
            {"origin_delay_2h", "origin_late_share_2h", "origin_delayed_2h", "carrier_origin_delayed_3h"},
            id="departures at their schedule",
        ),
        pytest.param(
            "landings",
            lambda table: table.with_columns(pl.col("at") - timedelta(hours=1)),
            {"carrier_late_rate_28d", "origin_late_rate_7d", "origin_arrival_delay_3h"},
            id="landings seen an hour into the future",
        ),
        pytest.param(
            "departures",
            lambda table: table.with_columns(pl.col("at") - timedelta(hours=1)),
            {"origin_departed_2h", "origin_delayed_2h", "carrier_origin_delay_3h"},
            id="departures seen an hour into the future",
        ),
        pytest.param(
            "queue",
            lambda table: table.with_columns(
                pl.when(pl.col("change") < 0)
                .then(pl.col("at") - timedelta(hours=1))
                .otherwise("at")
                .alias("at")
            ),
            {"origin_waiting", "carrier_origin_waiting"},
            id="leaving an hour before it happens",
        ),
        pytest.param(
            "weather",
            lambda table: table.with_columns(pl.col("at") - timedelta(hours=1)),
            {"weather_temp", "weather_pressure"},
            id="weather at the start of its hour",
        ),
    ],
)
def test_features_from_events_stamped_too_early_are_caught(fortnight, stream, remake, suspects):
    """The check bites: each leak shows in the features that use the stream."""
    assert known_too_early(broken(**{stream: remake}), fortnight) >= suspects


def test_features_taken_from_a_flights_own_landing_are_caught(fortnight):
    """A leak in the rows themselves, not in a stream, is seen as well."""

    def rows(tables):
        delay = tables["landings"].select("id", "delay")
        return (
            MODEL.rows(tables)
            .join(delay, on="id", how="left")
            .with_columns(pl.col("distance") + pl.col("delay").fill_null(0))
        )

    assert known_too_early(replace(MODEL, rows=rows), fortnight) == {"distance"}
