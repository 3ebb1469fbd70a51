"""The drift check alarms on drift, stays quiet on noise, and knows when it cannot tell."""

import re
import warnings
from datetime import timedelta

import polars as pl
import pytest

from contract.errors import ConfigError
from contract.strict import convert
from monitoring import drift
from monitoring.drift import compared_columns, drift_report
from monitoring.policy import DriftPolicy
from monitoring.psi import psi
from tests.monitoring.worlds import CONTRACT, DRIFT, START, reference, window

REFERENCE = reference()
LATER = START + timedelta(days=90)


@pytest.fixture
def stand_in(monkeypatch):
    """Our PSI in place of Evidently's: seconds become milliseconds, and a test below shows they are equal."""

    def compare(ours, theirs, limits, seasonal, policy):  # noqa: ARG001
        return {name: psi(ours[name], theirs[name]) for name in ours.columns}, "<body></body>"

    monkeypatch.setattr(drift, "_evidently", compare)


def shifted(column: str, by: float, frame: pl.DataFrame | None = None) -> pl.DataFrame:
    """A later month in which one column moved."""
    frame = window(seed=7, start=LATER) if frame is None else frame
    return frame.with_columns(pl.col(column) + by)


def test_evidently_reports_our_psi_and_its_page_opens_with_the_verdict():
    """The real library: same numbers, a self-contained page, seasonal columns in a table of their own."""
    policy = convert(
        {"psi": 0.1, "drifted_share": 0.3, "min_rows": 500, "min_days": 7, "seasonal": ["temp"]},
        DriftPolicy,
        "test",
    )
    current = shifted("feature.temp", 15).with_columns(
        pl.when(pl.int_range(pl.len()) % 10 == 0)
        .then(None)
        .otherwise(pl.col("feature.wind"))
        .alias("feature.wind"),
        pl.when(pl.int_range(pl.len()) % 10 == 0)
        .then(None)
        .otherwise(pl.col("feature.carrier"))
        .alias("feature.carrier"),
        pl.lit(None, dtype=pl.String).alias("feature.route"),
    )
    ours = REFERENCE.head(6_000)
    result = drift_report(ours, current, CONTRACT, policy)
    found = {item.column: item.psi for item in result.columns}
    assert list(found) == compared_columns(CONTRACT)
    for name in set(found) - {"feature.route"}:
        assert found[name] == pytest.approx(psi(ours[name], current[name]), rel=1e-9)
    assert found["feature.route"] is None
    assert result.status == "quiet"
    assert f"quiet: {result.reason}" in result.html
    assert len(result.html) > 1_000_000


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_months_without_drift_stay_quiet():
    """Twenty months with day effects of their own against the same reference."""
    results = [drift_report(REFERENCE, window(seed=seed, start=LATER), CONTRACT, DRIFT) for seed in range(20)]
    assert [result.status for result in results] == ["quiet"] * 20


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_the_same_months_alarm_when_thresholds_are_not_calibrated():
    """Calibration is what keeps noise quiet: without it windows of ten days alarm."""
    policy = DriftPolicy(psi=0.02, drifted_share=0.3, min_rows=500, min_days=7)
    fixed = dict.fromkeys(compared_columns(CONTRACT), 0.0)
    months = [window(10, 200, seed=seed, start=LATER) for seed in range(5)]
    assert all(drift_report(REFERENCE, month, CONTRACT, policy, fixed).alarm for month in months)
    assert not any(drift_report(REFERENCE, month, CONTRACT, policy).alarm for month in months)


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_enough_shifted_features_alarm_and_are_named():
    """Two of five features are more than the policy's 30 %."""
    result = drift_report(
        REFERENCE, shifted("feature.hour", -5, shifted("feature.temp", 15)), CONTRACT, DRIFT
    )
    assert result.alarm
    assert result.share_drifted == pytest.approx(0.4)
    assert "2 of 5 features drifted" in result.reason
    assert "feature.temp has PSI" in result.reason


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_one_shifted_feature_is_reported_without_an_alarm():
    """One of five is below the policy's share."""
    result = drift_report(REFERENCE, shifted("feature.temp", 15), CONTRACT, DRIFT)
    assert [item.column for item in result.columns if item.drifted] == ["feature.temp"]
    assert result.status == "quiet"


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_a_shifted_score_alarms_alone():
    """What the model answers has changed, whichever input is behind it."""
    frame = window(seed=7, start=LATER).with_columns(pl.col("score.late") * 0.3)
    result = drift_report(REFERENCE, frame, CONTRACT, DRIFT)
    assert result.alarm
    assert "the score drifted" in result.reason


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_a_seasonal_feature_is_reported_and_not_counted():
    """Summer is no reason to alarm; the other features are judged by their own share."""
    policy = DriftPolicy(psi=0.1, drifted_share=0.3, min_rows=500, min_days=7, seasonal=("temp", "hour"))
    result = drift_report(
        REFERENCE, shifted("feature.hour", -5, shifted("feature.temp", 15)), CONTRACT, policy
    )
    assert {item.column for item in result.columns if item.drifted} == {"feature.temp", "feature.hour"}
    assert (result.status, result.share_drifted) == ("quiet", 0.0)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("ours", "theirs", "lack"),
    [
        (reference(30, 30), window(8, 10), "the window has 80 of 500 rows"),
        (reference(30, 30), window(3, 300), "the window has 3 of 7 days"),
        (reference(20, 10), window(8, 100), "the reference has 200 of 500 rows"),
        (reference(10, 100), window(8, 100), "the reference has 10 of 14 days"),
    ],
)
def test_too_little_is_insufficient_and_neither_alarm_nor_quiet(ours, theirs, lack):
    """Even a window that has plainly drifted is not judged on too few rows or days."""
    result = drift_report(ours, shifted("feature.temp", 100, theirs), CONTRACT, DRIFT)
    assert result.status == "insufficient"
    assert not result.alarm
    assert lack in result.reason
    assert result.html == ""


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_no_more_rows_than_the_policy_says_are_compared():
    """The sample is seeded, so the verdict is the same again."""
    policy = DriftPolicy(psi=0.1, drifted_share=0.3, min_rows=500, min_days=7, max_rows=1_000)
    first, second = (drift_report(REFERENCE, window(seed=1), CONTRACT, policy) for _ in range(2))
    assert first.rows == 1_000
    assert first == second


@pytest.mark.unit
@pytest.mark.usefixtures("stand_in")
def test_the_policys_psi_is_the_floor_of_every_threshold():
    """A column without noise does not alarm on a trifle, and one with noise keeps its own level."""
    result = drift_report(REFERENCE, window(seed=1), CONTRACT, DRIFT)
    thresholds = {item.column: item.threshold for item in result.columns}
    assert thresholds["feature.hour"] == DRIFT.psi
    assert thresholds["feature.wind"] > DRIFT.psi


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (range(15), range(5, 15)),  # few values, some absent from the window
        (range(21), range(25)),  # just enough values to be cut into ranges
        (
            [*range(25_000), 10**6],
            range(20_000),
        ),  # a bin below 1e-4: what stands in for empty ones is smaller
        (
            [0.0, 100.0, *[1.0] * 30, *range(30)],
            [0.0, 100.0, *range(20)],
        ),  # bins that are empty on both sides
        (list("abcab"), list("abd")),
    ],
)
def test_our_psi_is_evidentlys_own_function(ours, theirs):
    """Compared with the function that the report calls, in the corners of its definition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently.legacy.calculations.stattests.psi import _psi
        from evidently.legacy.core import ColumnType

        kind = ColumnType.Categorical if isinstance(ours[0], str) else ColumnType.Numerical
        columns = [
            list(values) if kind == ColumnType.Categorical else [float(v) for v in values]
            for values in (ours, theirs)
        ]
        expected, _ = _psi(*(pd.Series(values) for values in columns), kind, 0.1)
    assert psi(*(pl.Series(values) for values in columns)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.unit
def test_a_seasonal_feature_that_does_not_exist_is_refused():
    """A misspelt name would otherwise let the feature alarm."""
    policy = DriftPolicy(psi=0.1, drifted_share=0.3, min_rows=500, min_days=7, seasonal=("tmp",))
    with pytest.raises(ConfigError, match="'tmp' is unknown, did you mean 'temp'"):
        drift_report(REFERENCE, window(), CONTRACT, policy)


@pytest.mark.unit
def test_a_window_without_any_value_is_insufficient():
    """Columns that are empty throughout cannot be compared."""
    names = compared_columns(CONTRACT)
    empty = window().with_columns(pl.lit(None, dtype=REFERENCE.schema[name]).alias(name) for name in names)
    assert drift_report(REFERENCE, empty, CONTRACT, DRIFT).status == "insufficient"


def test_odd_columns_do_not_stop_evidently():
    """Constant, infinite, single-category and nearly empty columns get a number like any other."""
    first = pl.int_range(pl.len()) < 2
    odd = window(seed=7, start=LATER).with_columns(
        pl.when(first).then(float("inf")).otherwise(3.0).alias("feature.temp"),
        pl.when(first).then(pl.col("feature.wind")).alias("feature.wind"),
        pl.lit("AA").alias("feature.carrier"),
        pl.when(first).then(pl.lit("never seen")).alias("feature.route"),
        pl.lit(0.5).alias("score.late"),
    )
    result = drift_report(REFERENCE, odd, CONTRACT, DRIFT)
    assert result.alarm
    assert all(item.psi is not None for item in result.columns)


def test_evidentlys_summary_agrees_with_the_verdict_at_exactly_the_threshold():
    """The page's first summary is of the counted features: at the share it alarms, just below it does not."""
    current = shifted("feature.temp", 15)
    ours = REFERENCE.head(6_000)
    for share, is_drift in ((0.2, True), (0.2 + 1e-9, False)):
        policy = DriftPolicy(psi=0.1, drifted_share=share, min_rows=500, min_days=7)
        result = drift_report(ours, current, CONTRACT, policy)
        assert result.share_drifted == 0.2
        first = re.search(r"Dataset Drift is (NOT )?detected", result.html)
        assert first is not None
        assert (first[1] is None) == is_drift == result.alarm
