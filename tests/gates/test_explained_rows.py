"""A held-out flight, raw to answer: computed again from what was known, and summed up tree by tree."""

import math

import polars as pl
import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.explain import explain
from pipelines.explaining.row import drawn, held_out
from training.model import AT, ID, LABEL
from training.models import flights


@pytest.fixture
def run(uncrowned, monkeypatch):
    """A run of flights that is the current folder."""
    monkeypatch.chdir(uncrowned.folder)
    return uncrowned


def some_row(run) -> str:
    """The id of a held-out row with a past."""
    return drawn(run.artifacts, 3)


def test_leaves_sum_to_the_logit_and_its_logistic_is_the_answer(run):
    """Raw score, probability, the graph's answer, the stored prediction and scikit-learn's are one."""
    for seed in range(3):
        name = drawn(run.artifacts, seed)
        found = explain("flights", name)
        raw = found.trees.base + math.fsum(found.trees.leaves)
        assert raw == pytest.approx(found.trees.raw, abs=1e-9)
        assert 1 / (1 + math.exp(-raw)) == pytest.approx(found.scores["late"], abs=1e-6)
        stored = pl.read_parquet(run.artifacts.predictions).filter(pl.col(ID) == name)
        assert stored["score.late"][0] == pytest.approx(found.scores["late"], abs=1e-7)
        assert found.fitted_difference < 1e-6


def test_every_feature_is_computed_again_from_what_was_known(run):
    """Equal to the held-out table; windows end at the moment of prediction; the outcome is no fact."""
    name = some_row(run)
    found = explain("flights", name)
    stored = run.part("test").filter(pl.col(ID) == name)
    assert {line.name: line.value for line in found.features} == {
        feature.name: stored[feature.name][0] for feature in flights.CONTRACT.features
    }
    at = stored[AT][0]
    assert found.subject.windows
    for window in found.subject.windows:
        assert window.until == at
        assert (window.events > 0) is bool(window.latest)
        if window.latest:
            assert window.since < window.latest[AT] <= at
    assert not {"label", "label_at", "arr_delay"} & found.subject.facts.keys()
    assert found.subject.outcome == flights.CONTRACT.classes[stored[LABEL][0]]


def test_counts_are_those_of_the_windows(run):
    """A count feature is the number of events that its window shows."""
    found = explain("flights", some_row(run))
    values = {line.name: line.value for line in found.features}
    counts = [
        (values[feature.name], window.events)
        for window in found.subject.windows
        for feature in flights.CONTRACT.features
        if feature.name in window.features and feature.aggregate.statistic == "count"
    ]
    assert counts
    assert all(value == events for value, events in counts)


def test_a_feature_that_is_not_what_the_table_holds_is_refused(run):
    """Edit one stored value by a millionth, and the walk stops there by name."""
    name = some_row(run)
    test = run.part("test")
    column = "origin_scheduled_2h"
    changed = pl.when(pl.col(ID) == name).then(pl.col(column) + 1e-6).otherwise(pl.col(column))
    run.replace_part("test", test.with_columns(changed.alias(column)))
    with pytest.raises(FlightlineError, match=rf"{name}: {column} is .* in the held-out table and"):
        held_out(name, flights.MODEL, run.artifacts)


@pytest.mark.slow
def test_what_happened_later_changes_nothing(run):
    """Take every later event out of the tables: the same features, hence nothing of the future is read."""
    name = some_row(run)
    before = explain("flights", name)
    at = before.subject.at
    for table in ("departures", "landings", "weather"):
        for path in (run.artifacts.checked / f"{table}.parquet", *(run.artifacts.checked / table).glob("*")):
            if path.is_file():
                rows = pl.read_parquet(path)
                rows.filter(pl.col(AT) <= at).write_parquet(path)
    after = explain("flights", name)
    assert after.features == before.features
    assert after.scores == before.scores


def test_an_unknown_row_is_a_sentence_with_the_near_miss(run):
    """One letter is wrong."""
    name = some_row(run)
    with pytest.raises(ConfigError, match=rf"is called '{name}X', did you mean '{name[:6]}"):
        explain("flights", f"{name}X")


def test_another_models_bundle_is_refused(run, make_bundle):
    """A row of flights cannot walk through a toy."""
    with pytest.raises(FlightlineError, match="holds a bundle of 'toy'"):
        explain("flights", some_row(run), bundle=make_bundle().bundle)


@pytest.mark.slow
def test_another_bundle_of_the_model_is_walked(run, weak):
    """`--bundle`: the scores are that bundle's, and there is no fitted pipeline to compare with."""
    name = some_row(run)
    found = explain("flights", name, bundle=weak.path)
    assert found.digest == weak.digest
    assert found.scores != explain("flights", name).scores
    assert found.fitted_difference is None
