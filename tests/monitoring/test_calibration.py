"""Thresholds follow the noise of whole days."""

import numpy as np
import polars as pl
import pytest

from contract.errors import FlightlineError
from monitoring.calibration import calibrate
from monitoring.psi import psi
from tests.monitoring.worlds import reference

pytestmark = pytest.mark.unit


def test_a_column_with_day_effects_gets_a_higher_threshold_than_one_without():
    """Wind belongs to the day, the hour does not."""
    noise = calibrate(reference(), ["feature.wind", "feature.hour"], 10, seed=0)
    assert noise["feature.wind"] > 5 * noise["feature.hour"]


def test_a_shorter_window_gets_a_higher_threshold():
    """A week is noisier than a month."""
    frame = reference()
    week, month = (calibrate(frame, ["feature.wind"], days, seed=0)["feature.wind"] for days in (7, 30))
    assert week > month


def test_the_same_seed_gives_the_same_thresholds():
    """Calibration draws from its seed alone."""
    frame = reference(20, 50)
    assert calibrate(frame, ["feature.temp"], 7, seed=3) == calibrate(frame, ["feature.temp"], 7, seed=3)


def test_each_resample_is_the_psi_of_the_split_it_names():
    """The counted shortcut equals PSI of the two sets of rows: with four days and one taken, four splits."""
    frame = reference(4, 300)
    days = sorted(set(frame["day"]))
    for name in ("feature.wind", "feature.carrier", "feature.hour"):
        splits = [
            psi(frame.filter(pl.col("day") != day)[name], frame.filter(pl.col("day") == day)[name])
            for day in days
        ]
        highest = calibrate(frame, [name], 1, seed=0, resamples=200, quantile=1.0)[name]
        assert highest == pytest.approx(max(splits), rel=1e-9)


def test_a_column_without_values_has_no_threshold():
    """NaN, so that the policy's floor applies."""
    frame = reference(10, 20).with_columns(pl.lit(None, dtype=pl.Float64).alias("feature.temp"))
    assert np.isnan(calibrate(frame, ["feature.temp"], 3, seed=0)["feature.temp"])


def test_a_reference_of_three_days_is_refused():
    """Three days have hardly a split."""
    with pytest.raises(FlightlineError, match="has 3 days; expected at least 4"):
        calibrate(reference(3, 20), ["feature.temp"], 3, seed=0)
