"""A thousand random flights: their features offline, and event by event as a server meets them."""

from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest

from pipelines.building.walk import walk
from training.features import examples
from training.models.flights import MODEL
from training.validation import check_all

pytestmark = pytest.mark.lengthy

FLIGHTS, SEED = 1000, 31


@pytest.fixture(scope="module")
def sound(arranged):
    """The year's tables as the pipeline validates them."""
    return {name: checked.sound for name, checked in check_all(arranged, MODEL.rules).items()}


@pytest.fixture(scope="module")
def rows(sound):
    """A thousand flights of the year."""
    return MODEL.rows(sound).sample(FLIGHTS, seed=SEED).sort("id")


@pytest.fixture(scope="module")
def year(sound):
    """The whole year's examples, out of one pass."""
    return examples(MODEL, sound)


@pytest.fixture(scope="module")
def offline(year, rows):
    """The features of the thousand flights, out of the year's."""
    names = [item.name for item in MODEL.contract.features if item.aggregate is not None]
    return year.filter(pl.col("id").is_in(rows["id"].implode())).select("id", *names).sort("id")


def walked(sound, rows, contract=MODEL.contract):
    """Their features, one event after another."""
    found = dict(walk(rows, MODEL.events(sound), contract))
    return pl.DataFrame([{"id": row, **found[row]} for row in sorted(found)], infer_schema_length=None)


@pytest.fixture(scope="module")
def incremental(sound, rows):
    """Their features, one event after another."""
    return walked(sound, rows)


def differing(one, other):
    """Names of the columns that are not equal in every row, null only to null."""
    assert one.columns == other.columns
    return {name for name in one.columns if one[name].to_list() != other[name].to_list()}


def test_a_thousand_flights_have_the_same_features_both_ways(offline, incremental):
    """Every aggregate, to the last bit."""
    assert offline.height == incremental.height == FLIGHTS
    assert len(offline.columns) == 1 + sum(item.aggregate is not None for item in MODEL.contract.features)
    assert differing(offline, incremental) == set()


def test_the_sample_has_something_to_compare(rows, offline):
    """Flights of every month, hardly a value missing, and no column with one value alone."""
    assert rows["at"].dt.month().n_unique() == 12
    assert offline.null_count().drop("id").sum_horizontal()[0] < 0.05 * FLIGHTS * offline.width
    constant = [name for name in offline.columns if offline[name].n_unique() < 3]
    assert constant == []


def test_a_month_computed_alone_is_the_same_month_of_the_year(sound, year):
    """September, from its own events and those that its windows reach; the waiting flights included."""
    since, until = (datetime(2013, month, 1, tzinfo=UTC) for month in (9, 10))
    month = examples(MODEL, sound, since, until)
    assert month.height > 27_000
    assert month.equals(year.filter(pl.col("at") >= since, pl.col("at") < until))


@pytest.mark.slow
def test_a_month_without_the_weeks_before_it_is_another(sound, year):
    """The comparison bites: from September's tables alone the monthly rates come out differently."""
    since, until = (datetime(2013, month, 1, tzinfo=UTC) for month in (9, 10))
    cut = {
        name: table.filter(pl.col(MODEL.known_at[name]) >= since) if name in MODEL.known_at else table
        for name, table in sound.items()
    }
    month = examples(MODEL, cut, since, until)
    whole = year.filter(pl.col("id").is_in(month["id"].implode()))
    assert {"carrier_late_rate_28d", "hour_late_rate_7d"} <= differing(month, whole)


@pytest.mark.parametrize(("minutes", "equal"), [(120, True), (119, False)])
def test_one_minute_of_a_window_makes_a_difference(sound, rows, offline, minutes, equal):
    """The comparison bites: a window of two hours less a minute has other values."""
    (feature,) = (item for item in MODEL.contract.features if item.name == "origin_delay_2h")
    window = msgspec.structs.replace(feature.aggregate, window_minutes=minutes)
    only = msgspec.structs.replace(
        MODEL.contract, features=(msgspec.structs.replace(feature, aggregate=window),)
    )
    found = walked(sound, rows, only)["origin_delay_2h"].to_list()
    assert (found == offline["origin_delay_2h"].to_list()) is equal
