"""Whole days are drawn, differences are paired, and each figure is the one of its textbook formula."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monitoring.metrics import interval_of_means
from pipelines.backtesting.intervals import Resampled, interval

pytestmark = pytest.mark.unit


@pytest.fixture
def rows():
    """Forty days of ten to thirty rows each: day, label and two scores, the second of which knows more."""
    generator = np.random.default_rng(1)
    day = np.repeat(np.arange(40), generator.integers(10, 30, 40))
    label = generator.random(len(day)) < 0.3
    noise = generator.normal(size=(2, len(day)))
    # Rounded, so that there are ties.
    return day, label, np.round(label + 2 * noise[0], 1), np.round(label + noise[1], 1)


def test_two_days_by_hand():
    """Of two days a quarter of the draws is twice the first and a quarter twice the other."""
    figure = Resampled(np.array([0, 1]), resamples=4_000).mean(np.array([0.0, 1.0]))
    assert figure[0] == 0.5
    shares = [np.mean(figure[1:] == mean) for mean in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    found = interval(figure)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_ends_are_the_quantiles_of_the_draws():
    """The first entry is the estimate and no draw: 101 draws from 0 to 100 end at 2.5 and 97.5."""
    found = interval(np.concatenate([[-7.0], np.arange(101.0)]), confidence=0.95)
    assert (found.value, found.low, found.high) == pytest.approx((-7.0, 2.5, 97.5))


def test_the_mean_is_the_one_that_monitoring_computes(rows):
    """Two programs, one formula: the same draws give the same interval."""
    day, _, score, _ = rows
    found = interval(Resampled(day, resamples=500, seed=3).mean(score))
    low, high = interval_of_means(score, day, resamples=500, confidence=0.95, seed=3)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(score.mean())


def test_the_auc_is_the_one_of_the_drawn_rows(rows):
    """Counting pairs by day gives what scikit-learn says of the rows, as often as their day was drawn."""
    day, label, score, _ = rows
    resampled = Resampled(day, resamples=20)
    figure = resampled.auc(score, label)
    for index, drawn in enumerate(resampled._drawn):
        weight = drawn[day].astype(int)
        expected = roc_auc_score(np.repeat(label, weight), np.repeat(score, weight))
        assert figure[index] == pytest.approx(expected, abs=1e-12)


def test_an_auc_without_both_kinds_is_nan():
    """A draw of the one day without a positive row has no pairs."""
    figure = Resampled(np.array([0, 0, 1]), resamples=50).auc(
        np.array([1.0, 0.0, 0.5]), np.array([1, 0, 0]) == 1
    )
    assert figure[0] == 1.0
    assert np.isnan(figure).any()


def test_differences_are_paired(rows):
    """What both strategies suffer alike cancels: the same days are drawn for both."""
    day, label, score, _ = rows
    resampled = Resampled(day)
    worse_everywhere = resampled.mean(score + 0.01) - resampled.mean(score)
    found = interval(worse_everywhere)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    assert not (resampled.auc(score, label) - resampled.auc(score, label)).any()


def test_days_rather_than_rows_are_drawn():
    """Forty days of alike rows are forty facts: repeating each row does not shrink the interval."""
    generator = np.random.default_rng(0)
    of_day = generator.normal(size=40)
    few, many = (interval(Resampled(np.repeat(np.arange(40), n)).mean(np.repeat(of_day, n))) for n in (3, 30))
    assert few.high - few.low == pytest.approx(many.high - many.low)
    assert few.high - few.low == pytest.approx(2 * 1.96 * of_day.std() / np.sqrt(40), rel=0.1)
