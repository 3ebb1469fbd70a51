"""Our metrics are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from monitoring.metrics import interval_of_means, mean_roc_auc, roc_auc, row_log_loss

pytestmark = pytest.mark.unit


def drawn(classes: int, seed: int, *, float32: bool = False):
    """Probabilities (200, classes) with ties, and a class for each row."""
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet(np.ones(classes), 200).round(2) + 1e-3
    scores /= scores.sum(axis=1, keepdims=True)
    if float32:
        scores = scores.astype(np.float32).astype(np.float64)
    return scores, generator.integers(0, classes, 200)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_log_loss_equals_scikit_learns(classes, seed):
    """The mean over rows, for two classes and for more."""
    scores, truth = drawn(classes, seed)
    expected = oracle.log_loss(truth, scores, labels=range(classes))
    assert row_log_loss(scores, truth).mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_binary_roc_auc_equals_scikit_learns(seed):
    """Ties included."""
    scores, truth = drawn(2, seed)
    assert mean_roc_auc(scores, truth) == pytest.approx(oracle.roc_auc_score(truth, scores[:, 1]), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_roc_auc_of_three_classes_equals_scikit_learns_one_against_the_rest(seed):
    """The unweighted mean over classes."""
    scores, truth = drawn(3, seed)
    expected = oracle.roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert mean_roc_auc(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_roc_auc_needs_both_outcomes():
    """One class alone has no ranking."""
    assert np.isnan(roc_auc(np.array([0.1, 0.9]), np.array([True, True])))


def test_a_certain_mistake_costs_a_finite_amount():
    """The logarithm is never taken of zero: about 36 nats."""
    loss = row_log_loss(np.array([[1.0, 0.0]]), np.array([1]))
    assert loss[0] == pytest.approx(36.04, abs=0.01)


def test_rows_that_sum_to_nearly_one_are_scaled():
    """float32 scores do not sum to 1 exactly."""
    assert row_log_loss(np.array([[0.5, 0.5]]), np.array([0])) == pytest.approx(
        row_log_loss(np.array([[0.4999, 0.4999]]), np.array([0]))
    )


def test_an_interval_over_days_is_wider_than_one_over_rows():
    """Rows of a day move together, so they are worth fewer observations than they are rows."""
    generator = np.random.default_rng(0)
    days = np.repeat(np.arange(30), 100)
    values = generator.normal(0, 1, 30)[days] + generator.normal(0, 1, len(days))
    by_day, by_row = (
        interval_of_means(values, blocks, resamples=500, confidence=0.95, seed=0)
        for blocks in (days, np.arange(len(days)))
    )
    assert by_day[1] - by_day[0] > 3 * (by_row[1] - by_row[0])
    assert by_day[0] < values.mean() < by_day[1]


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Of 200 windows with mean 0, between 88 % and 99 % of the 95 % intervals hold 0."""
    held = 0
    days = np.repeat(np.arange(40), 10)
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values = generator.normal(0, 1, 40)[days] + generator.normal(0, 1, len(days))
        low, high = interval_of_means(values, days, resamples=300, confidence=0.95, seed=seed)
        held += low <= 0 <= high
    assert 176 <= held <= 198
