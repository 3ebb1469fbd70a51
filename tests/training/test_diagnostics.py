"""The numbers behind the pictures."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from contract.schema import Contract, Feature
from tests.training.conftest import TOY
from training.diagnostics import (
    POINTS,
    average_precision,
    precision_recall,
    reliability,
    roc,
    roc_auc,
    slice_table,
)
from training.evaluation import measure
from training.model import Slice

pytestmark = pytest.mark.unit

THREE = Contract(
    model="three",
    features=(Feature("width", "number", "a width"),),
    target="which",
    classes=("a", "b", "c"),
    scores="decision",
)


def answers(rows=4000, seed=0):
    """Labels, and probabilities that know something of them."""
    random = np.random.default_rng(seed)
    chance = random.beta(1, 3, rows)
    return (random.random(rows) < chance).astype(np.int64), np.column_stack([1 - chance, chance])


@given(st.integers(0, 2**16), st.integers(2, 60), st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_the_areas_are_the_well_known_ones(seed, rows, levels):
    """As scikit-learn computes them, ties included."""
    random = np.random.default_rng(seed)
    hit = random.random(rows) < 0.5
    score = random.integers(0, levels, rows) / levels
    hit[:2] = (True, False)
    assert roc_auc(hit, score) == pytest.approx(roc_auc_score(hit, score))
    assert average_precision(hit, score) == pytest.approx(average_precision_score(hit, score))


def test_the_areas_of_one_kind_of_row_are_no_numbers():
    """Without late flights there is nothing to rank."""
    assert math.isnan(roc_auc(np.zeros(5), np.arange(5.0)))
    assert math.isnan(roc_auc(np.array([]), np.array([])))
    assert math.isnan(average_precision(np.zeros(5), np.arange(5.0)))


def test_curves_are_thinned_without_moving_their_ends_or_their_area():
    """A picture's worth of points, and what is read off them is the same to three digits."""
    label, scores = answers()
    points = roc(label, scores, TOY)
    assert {point.name for point in points} == {"large"}
    assert POINTS / 2 < len(points) <= POINTS + 2
    x, y = ([getattr(p, name) for p in points] for name in ("false_positive_rate", "true_positive_rate"))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (x, y) == (sorted(x), sorted(y))
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(label == 1, scores[:, 1]), abs=0.001)
    trades = precision_recall(label, scores, TOY)
    assert trades[-1].recall == 1
    assert trades[-1].precision == pytest.approx(label.mean())


def test_more_than_two_classes_are_looked_at_one_by_one():
    """Each against the rest, by its own score."""
    label = np.array([0, 1, 2] * 20)
    scores = np.eye(3)[label]
    assert {point.name for point in roc(label, scores, THREE)} == {"a", "b", "c"}
    assert {trade.name for trade in precision_recall(label, scores, THREE)} == {"a", "b", "c"}


def test_a_class_that_never_occurs_has_no_curve():
    """Rather than a division by zero."""
    label = np.array([0, 1] * 20)
    found = {point.name for point in roc(label, np.eye(3)[label], THREE)}
    assert found == {"a", "b"}


def test_the_bins_hold_every_row_and_give_the_calibration_error():
    """The diagram and the gate's figure are of the same bins."""
    label, scores = answers()
    bins = reliability(label, scores, TOY, np.arange(len(label)), 7)
    assert sum(item.rows for item in bins) == len(label)
    gap = sum(item.rows * abs(item.observed - item.predicted) for item in bins) / len(label)
    assert gap == pytest.approx(measure(label, scores, TOY)["calibration_error"])
    assert all(item.lower <= item.observed <= item.upper for item in bins)


def test_overconfident_probabilities_leave_their_intervals():
    """What a reader looks for in the diagram: the diagonal lies outside."""
    label, scores = answers()
    high = np.clip(scores[:, 1] * 2, 0, 1)
    bins = reliability(label, np.column_stack([1 - high, high]), TOY, np.arange(len(label)), 7)
    assert all(item.upper < item.predicted for item in bins if item.rows > 100)


def test_decision_values_have_no_reliability():
    """They are no probabilities."""
    assert reliability(np.zeros(3, int), np.zeros((3, 3)), THREE, np.arange(3), 7) == ()


def slices(*parts, contract=TOY):
    """The table of these slices over rows of three letters."""
    label, scores = answers(600)
    rows = pl.DataFrame({"letter": ["a", "b", None] * 200})
    return slice_table(rows, label, scores, contract, slices=parts, blocks=np.arange(600), seed=7)


def test_all_rows_come_first_and_slices_follow():
    """With figures that are those of the rows alone."""
    label, scores = answers(600)
    whole, part = slices(Slice("a", pl.col("letter") == "a"))
    here = np.arange(600) % 3 == 0
    assert (whole.name, whole.rows, part.name, part.rows) == ("all", 600, "a", 200)
    assert whole.loss == pytest.approx(measure(label, scores, TOY)["log_loss"])
    found = measure(label[here], scores[here], TOY)
    assert part.loss == pytest.approx(found["log_loss"])
    assert part.roc_auc == pytest.approx(found["roc_auc"])
    assert part.calibration_error == pytest.approx(found["calibration_error"])
    assert part.base_rate == label[here].mean()
    assert part.lower < part.loss < part.upper


def test_a_slice_without_rows_says_so():
    """No row, and no figure that could be taken for one."""
    _, part = slices(Slice("z", pl.col("letter") == "z"))
    assert part.rows == 0
    assert all(math.isnan(value) for value in (part.loss, part.upper, part.base_rate, part.roc_auc))


def test_without_slices_there_is_the_whole():
    """A model need not declare any."""
    (whole,) = slices()
    assert whole.rows == 600
