"""A thousand random flights, replayed through events and look-ups: equal to the offline matrix."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import polars as pl
import pytest

from pipelines.building.walk import in_order
from pipelines.materialise import materialise
from serving.features.completion import Completer
from serving.features.facts import microseconds
from serving.features.store import Event
from training.features import examples
from training.models.flights import MODEL
from training.validation import check_all

FLIGHTS, SEED = 1000, 47
NAMES = [feature.name for feature in MODEL.contract.stored]
KEYS = ("flight", "hour", "tailnum")
DAYS = 2  # of each period
# In winter and in the summer's rush; and over the end of summer time.
PERIODS = tuple(datetime(2013, *day, tzinfo=UTC) for day in ((2, 7), (7, 8), (11, 2)))


@pytest.fixture(scope="module")
def sound(arranged):
    """The year's tables as the pipeline validates them."""
    return {name: checked.sound for name, checked in check_all(arranged, MODEL.rules).items()}


@pytest.fixture(scope="module")
def flights(sound):
    """A thousand flights of the periods, with their features offline and what a caller knows of each."""
    parts = [examples(MODEL, sound, start, start + timedelta(days=DAYS)) for start in PERIODS]
    found = pl.concat(parts).sample(FLIGHTS, seed=SEED).sort("at", "id")
    return found.join(MODEL.rows(sound).select("id", *KEYS), on="id", how="left", maintain_order="left")


def happened(sound, start, end):
    """The events of a period as a source would send them, in the order of time."""
    streams = {
        name: table.filter(pl.col("at") > start, pl.col("at") <= end)
        for name, table in MODEL.events(sound).items()
    }
    return [
        Event(f"{stream}-{number}", stream, microseconds(at), {k: v for k, v in facts.items() if k != "at"})
        for number, (at, stream, facts) in enumerate(in_order(streams, MODEL.contract))
    ]


def replayed(completer, sound, flights, start):
    """The flights of one period completed as they come, the past having been materialised at its start."""
    end = start + timedelta(days=DAYS)
    known = MODEL.known(sound, start)
    materialise(MODEL, known, start, completer.store, say=lambda _: None)
    waiting = iter(happened(sound, start, end))
    due = flights.filter(pl.col("at") >= start, pl.col("at") < end)
    held, found = next(waiting, None), []
    for _, part in due.group_by(pl.col("at").dt.truncate("1h"), maintain_order=True):
        last = microseconds(part["at"].max())
        batch = []
        while held is not None and held.at <= last:
            batch.append(held)
            held = next(waiting, None)
        sending = iter(batch)
        while events := list(islice(sending, 500)):
            completer.accept([MODEL.contract], events)
        asked = [
            {f.name: row[f.name] for f in MODEL.contract.features if not f.stored} for row in part.to_dicts()
        ]
        keys = part.select(KEYS).to_dicts()
        completed = completer.complete(MODEL.contract, asked, keys, part["at"].to_list())
        found += completed.rows
        assert completed.stale.total() == 0
        # A tail number that the registry lacks is the one thing that may be missing.
        assert set(completed.missing) <= {"plane_year", "plane_seats"}
    return found


def differing(found, offline):
    """Names of the stored features that are not equal in every row, null only to null."""
    return {name for name in NAMES if [row[name] for row in found] != offline[name].to_list()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_a_thousand_flights_have_the_offline_features_out_of_the_store(sound, flights, open_stores, kind):
    """Every stored feature of every flight, to the last bit (S3, S4)."""
    completer = Completer(open_stores(kind), cache_seconds=1.0)
    found = [row for start in PERIODS for row in replayed(completer, sound, flights, start)]
    assert len(found) == FLIGHTS
    assert len(NAMES) == 29
    assert differing(found, flights) == set()


@pytest.mark.slow
def test_the_sample_has_something_to_compare(flights):
    """Hardly a value missing, no column with one value alone, and each period well represented."""
    assert flights.select(NAMES).null_count().sum_horizontal()[0] < 0.1 * FLIGHTS * len(NAMES)
    assert [name for name in NAMES if flights[name].n_unique() < 3] == []
    assert flights["at"].dt.month().value_counts()["count"].min() > 200
