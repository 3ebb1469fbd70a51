"""Each check of data health bites on the data it exists for, and on no other."""

import polars as pl
import pytest

from monitoring.health import data_health
from tests.monitoring.worlds import CONTRACT, HEALTH, reference, window

pytestmark = pytest.mark.unit

REFERENCE = reference(10, 50)
LOG = window(10, 50, seed=5)


def spoilt(share: float, column: str, value: object) -> pl.DataFrame:
    """The log with `value` in the first `share` of rows of `column`."""
    first = pl.int_range(pl.len()) < share * LOG.height
    return LOG.with_columns(
        pl.when(first).then(pl.lit(value, dtype=LOG.schema[column])).otherwise(pl.col(column)).alias(column)
    )


def test_an_ordinary_window_is_healthy():
    """Another seed of the same world has no problem."""
    assert data_health(REFERENCE, LOG, CONTRACT, HEALTH).problems == ()


@pytest.mark.parametrize(
    ("share", "column", "value", "code"),
    [
        (0.2, "feature.temp", None, "missing"),
        (0.2, "feature.temp", float("nan"), "missing"),
        (0.2, "feature.carrier", None, "missing"),
        (0.2, "feature.carrier", "ZZ", "unknown"),
        (0.2, "feature.route", "never seen", "unknown"),
        (0.2, "feature.temp", 999.0, "range"),
        (0.2, "feature.wind", float("inf"), "range"),
        (0.2, "entity_id", "the same", "duplicates"),
        (0.004, "model", "another", "model"),
        (0.004, "score.late", float("nan"), "scores"),
        (0.004, "score.late", 1.5, "scores"),
    ],
)
def test_each_kind_of_bad_data_is_found_and_named(share, column, value, code):
    """One spoilt column gives one problem, of its code and about its column."""
    health = data_health(REFERENCE, spoilt(share, column, value), CONTRACT, HEALTH)
    assert [(problem.code, problem.column) for problem in health.problems] == [(code, column)]
    assert not health.healthy


def test_what_was_asked_again_under_another_request_is_a_duplicate():
    """A client that repeats itself has another request_id each time."""
    again = pl.concat([LOG, LOG.head(LOG.height // 4).with_columns(pl.col("request_id") + "-again")])
    (problem,) = data_health(REFERENCE, again, CONTRACT, HEALTH).problems
    assert (problem.code, problem.column, round(problem.found, 6)) == ("duplicates", "entity_id", 0.2)


def test_rows_about_nobody_are_told_apart_by_their_requests():
    """A caller need not say what it asks about."""
    anonymous = LOG.with_columns(entity_id=pl.lit(None, dtype=pl.String()))
    assert data_health(REFERENCE, anonymous, CONTRACT, HEALTH).healthy
    same = anonymous.with_columns(request_id=pl.lit("the same"))
    assert [item.code for item in data_health(REFERENCE, same, CONTRACT, HEALTH).problems] == ["duplicates"]


@pytest.mark.parametrize("column", ["feature.temp", "feature.carrier"])
def test_an_increase_within_policy_is_no_problem(column):
    """4 % missing where 5 % more are allowed."""
    assert data_health(REFERENCE, spoilt(0.04, column, None), CONTRACT, HEALTH).healthy


def test_what_the_reference_lacks_too_is_no_problem():
    """A feature that was always missing in a fifth of rows may go on so."""
    lacking = REFERENCE.with_columns(
        pl.when(pl.int_range(pl.len()) % 5 > 0).then(pl.col("feature.temp")).alias("feature.temp")
    )
    assert data_health(lacking, spoilt(0.2, "feature.temp", None), CONTRACT, HEALTH).healthy


def test_few_rows_are_not_judged_by_shares():
    """One missing value of ten rows is no rate."""
    few = spoilt(0.2, "feature.temp", None).head(HEALTH.min_rows - 1)
    assert data_health(REFERENCE, few, CONTRACT, HEALTH).healthy


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (LOG.drop("feature.wind"), "column feature.wind is missing from the prediction log"),
        (LOG.cast({"feature.hour": pl.Int64}), "column feature.hour has type Int64, not Float64"),
        (LOG.with_columns(extra=pl.lit(1)), "column extra is not in the contract"),
        (LOG.head(3).drop("label"), "column label is missing from the prediction log"),
    ],
)
def test_another_schema_is_a_problem_at_any_size(frame, sentence):
    """And the only one reported, since no share can be computed."""
    assert data_health(REFERENCE, frame, CONTRACT, HEALTH).sentences == (sentence,)


def test_a_sentence_says_what_was_found_and_what_is_allowed():
    """A person reads it in an alert."""
    health = data_health(REFERENCE, spoilt(0.2, "feature.temp", None), CONTRACT, HEALTH)
    assert health.sentences == ("temp is missing in 20.0% of rows (reference 0.0%, at most 5.0% more)",)
