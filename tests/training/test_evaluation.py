"""Metrics agree with scikit-learn and with a pencil."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from contract.schema import Contract, Feature
from training.evaluation import calibration_error, losses, measure, prior_scores

pytestmark = pytest.mark.unit


def contract(classes="ab", scores="probability"):
    """A contract whose classes and scores are all that matters here."""
    feature = Feature(name="x", kind="number", description="")
    return Contract(model="toy", features=(feature,), target="", classes=tuple(classes), scores=scores)


def scores_of(probability):
    """Two columns from the second class's probability."""
    return np.column_stack([1 - probability, probability])


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(4, 40), elements=st.floats(0.01, 0.99)), st.integers(0, 99))
def test_metrics_are_scikit_learns(probability, seed):
    """Accuracy, log loss, Brier score and the area under the curve of two classes."""
    label = np.random.default_rng(seed).integers(0, 2, len(probability))
    label[:2] = 0, 1
    scores = scores_of(probability)
    found = measure(label, scores, contract())
    assert found["accuracy"] == pytest.approx(accuracy_score(label, scores.argmax(axis=1)))
    assert found["log_loss"] == pytest.approx(log_loss(label, scores, labels=[0, 1]))
    assert found["brier"] == pytest.approx(brier_score_loss(label, probability))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(label, probability))


def test_three_classes_have_a_log_loss_and_no_curve():
    """The area under the curve needs one positive class."""
    scores = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    label = np.array([2, 1])
    found = measure(label, scores, contract("abc"))
    assert found["log_loss"] == pytest.approx(log_loss(label, scores, labels=[0, 1, 2]))
    assert "roc_auc" not in found


def test_decisions_have_an_accuracy_and_nothing_else():
    """Distances to a border are not probabilities."""
    scores = np.array([[2.0, 1.0, -1.0], [0.0, 5.0, 1.0]])
    decisions = contract("abc", "decision")
    assert measure(np.array([0, 2]), scores, decisions) == {"accuracy": 0.5}
    assert losses(np.array([0, 2]), scores, decisions).tolist() == [0.0, 1.0]


def test_a_certain_mistake_costs_much_but_not_everything():
    """A probability of zero is a rounded one: -ln 1e-7."""
    scores = np.array([[1.0, 0.0]], dtype=np.float32)
    assert losses(np.array([1]), scores, contract()).tolist() == [pytest.approx(-math.log(1e-7))]
    assert losses(np.array([0]), scores, contract()).tolist() == [0.0]


def test_the_loss_of_each_row_is_computed_in_double_precision():
    """float32 scores do not make float32 sums."""
    found = losses(np.array([1, 0]), np.array([[0.75, 0.25]] * 2, dtype=np.float32), contract())
    assert found.dtype == np.float64
    assert found.tolist() == [pytest.approx(math.log(4)), pytest.approx(math.log(4 / 3))]


def test_calibration_error_by_hand():
    """Two bins of two rows: |0.5 - 0.15| and |1 - 0.85|, weighted alike, are 0.25."""
    hit = np.array([0.0, 1.0, 1.0, 1.0])
    assert calibration_error(hit, np.array([0.1, 0.2, 0.8, 0.9])) == pytest.approx(
        (abs(0 - 0.1) + abs(1 - 0.2) + abs(1 - 0.8) + abs(1 - 0.9)) / 4
    )
    together = np.array([0.12, 0.18, 0.82, 0.88])
    assert calibration_error(hit, together) == pytest.approx((2 * abs(0.5 - 0.15) + 2 * abs(1 - 0.85)) / 4)


@pytest.mark.parametrize(("probability", "error"), [(0.0, 1.0), (1.0, 0.0)])
def test_both_ends_of_the_scale_have_a_bin(probability, error):
    """Exactly 1 belongs to the last bin."""
    assert calibration_error(np.ones(3), np.full(3, probability)) == error


def test_certainty_shares_its_bin_with_near_certainty():
    """There is no eleventh bin: 0.9 and 1 are judged together."""
    assert calibration_error(np.array([1.0, 0.0]), np.array([0.9, 1.0])) == pytest.approx(0.45)


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_right_share_is_perfectly_calibrated(rows, share):
    """Saying the observed share for every row has no calibration error."""
    hit = (np.arange(rows) < round(share * rows)).astype(float)
    assert calibration_error(hit, np.full(rows, hit.mean())) == pytest.approx(0, abs=1e-12)


def test_the_baseline_says_each_classs_share_of_the_training_rows():
    """Also of a class that training never saw."""
    found = prior_scores(np.array([0, 0, 1, 0]), 2, contract("abc"))
    assert found.tolist() == [[0.75, 0.25, 0.0]] * 2
