"""A window in numbers, by hand-computed answers."""

import math
from datetime import UTC, datetime

import polars as pl
import pytest

from contract.schema import Contract, Feature
from monitoring.statistics import age_days, window_statistics
from tests.monitoring.worlds import CONTRACT, window

pytestmark = pytest.mark.unit


def four_rows(**columns):
    """Four rows with the given columns in place of the synthetic ones."""
    return window(1, 4).with_columns(**{name.replace("__", "."): pl.Series(v) for name, v in columns.items()})


def test_scores_are_described_by_moments_and_a_histogram():
    """Mean 0.4, median 0.3, population deviation 0.3082; the bins cover [0, 1]."""
    score = window_statistics(four_rows(score__late=[0.1, 0.2, 0.4, 0.9]), CONTRACT, bins=4).scores[1]
    assert (score.mean, score.median, score.minimum, score.maximum) == pytest.approx((0.4, 0.3, 0.1, 0.9))
    assert score.deviation == pytest.approx(math.sqrt(0.095))
    assert score.counts == (2, 1, 0, 1)
    assert (score.edges[0], score.edges[-1]) == (0.0, 1.0)


def test_invalid_scores_are_counted_and_left_out():
    """NaN, missing and a probability of 1.5 are three of four rows; the first two have no place in a mean."""
    score = window_statistics(four_rows(score__late=[0.5, float("nan"), None, 1.5]), CONTRACT).scores[1]
    assert score.invalid == 0.75
    assert score.mean == 1.0


def test_missing_is_null_or_nan():
    """Half of the rows."""
    features = window_statistics(four_rows(feature__temp=[1.0, None, float("nan"), 2.0]), CONTRACT).features
    assert features[0].missing == 0.5
    assert features[0].out_of_range == 0.0


def test_out_of_range_is_outside_the_contract_or_infinite():
    """The contract allows -50 to 60; bounds are inside."""
    features = window_statistics(
        four_rows(feature__temp=[-50.0, 60.5, float("inf"), 60.0]), CONTRACT
    ).features
    assert features[0].out_of_range == 0.5


def test_an_absent_bound_does_not_make_infinity_ordinary():
    """Wind has no maximum."""
    features = window_statistics(four_rows(feature__wind=[float("inf"), 1.0, 2.0, -1.0]), CONTRACT).features
    assert features[1].out_of_range == 0.5


def test_unknown_categories_are_those_the_contract_does_not_list():
    """One of four; a missing one is missing, not unknown."""
    features = window_statistics(four_rows(feature__carrier=["AA", "ZZ", None, "UA"]), CONTRACT).features
    assert (features[3].unknown, features[3].missing) == (0.25, 0.25)


def test_latency_is_given_by_quantiles():
    """Linear interpolation between order statistics."""
    found = window_statistics(four_rows(latency_ms=[1.0, 2.0, 3.0, 4.0]), CONTRACT)
    assert (found.latency_p50, found.latency_p99) == pytest.approx((2.5, 3.97))


def test_versions_and_predicted_classes_are_counted():
    """Which versions answered, and what."""
    found = window_statistics(
        four_rows(version=["2", "1", "2", "2"], label=["late", "late", "on_time", "late"]), CONTRACT
    )
    assert found.versions == (("1", 1), ("2", 3))
    assert found.labels == (("late", 3), ("on_time", 1))
    assert found.start is not None
    assert found.start <= found.end


def test_an_empty_window_has_no_numbers_and_raises_nothing():
    """A quiet night is a window as well."""
    found = window_statistics(window(1, 4).clear(), CONTRACT)
    assert (found.rows, found.start, found.versions) == (0, None, ())
    assert math.isnan(found.scores[0].mean)
    assert math.isnan(found.latency_p99)
    assert found.features[0].missing == 0.0


def test_decision_scores_are_valid_outside_zero_and_one():
    """Only probabilities have a range."""
    contract = Contract(
        model="toy",
        features=(Feature(name="temp", kind="number", description=""),),
        target="y",
        classes=("on_time", "late"),
        scores="decision",
    )
    score = window_statistics(four_rows(score__late=[-3.0, 0.0, 2.0, 5.0]), contract).scores[1]
    assert score.invalid == 0.0
    assert (score.edges[0], score.edges[-1]) == (-3.0, 5.0)


def test_age_is_in_days():
    """A day and a half."""
    trained, now = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 4, 2, 12, tzinfo=UTC)
    assert age_days(trained, now) == 1.5
