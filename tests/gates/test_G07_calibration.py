"""G07 bites when probabilities are not met by frequencies: too sure, too vague, or beside the base rate."""

import math

import joblib
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipelines.evaluate import evaluate
from pipelines.train import train
from tests.conftest import toy_contract
from tests.gates.workshop import at_full_size
from training.export import to_onnx
from training.gates.calibration import calibrated, calibration_slope
from training.gates.policy import Calibrated
from training.learning import boosted_trees
from training.models.flights import CONTRACT

LIMITS = Calibrated(max_calibration_error=0.15, min_slope=0.7, max_slope=1.4)
ROWS = 20_000


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """The probability of a logit."""
    return 1 / (1 + np.exp(-logit))


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with exactly the probabilities they stand for."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1.2, 1.0, ROWS)
    return logit, (random.random(ROWS) < sigmoid(logit)).astype(np.int64)


def verdict(label: np.ndarray, probability: np.ndarray, limits: Calibrated = LIMITS):
    """The verdict on the second class's probability."""
    return calibrated(label, np.column_stack([1 - probability, probability]), CONTRACT, limits)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("distort", "word"),
    [
        (lambda logit: 3 * logit, "too sure"),
        (lambda logit: 2 * logit, "too sure"),
        (lambda logit: 0.5 * logit, "too vague"),
        (lambda logit: -logit, "too sure"),
        (lambda logit: logit + 1.2, "the calibration error is"),
        (lambda logit: logit - 4.0, "the calibration error is"),
    ],
    ids=["tripled", "doubled", "halved", "turned round", "too high", "too low"],
)
def test_each_way_to_be_miscalibrated_is_named(distort, word):
    """True probabilities pass; the same ranking with other probabilities does not."""
    logit, label = drawn()
    assert verdict(label, sigmoid(logit)).verdict == "pass"
    found = verdict(label, sigmoid(distort(logit)))
    assert found.verdict == "fail"
    assert word in found.reason


@pytest.mark.unit
@given(seed=st.integers(0, 2**16), scale=st.floats(0.3, 3.0), shift=st.floats(-1.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_the_slope_is_scikit_learns_and_scales_with_the_logits(seed, scale, shift):
    """A shift of all logits leaves it alone; a factor divides it."""
    logit, label = drawn(seed)
    base = calibration_slope(label, sigmoid(logit))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(logit[:, None], label)
    assert base == pytest.approx(float(fitted.coef_[0, 0]), rel=1e-4)
    assert calibration_slope(label, sigmoid(scale * logit + shift)) == pytest.approx(base / scale, rel=1e-4)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("label", "probability"),
    [
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4]),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([1], [0.5]),
    ],
    ids=["none", "all", "constant", "separated", "one row"],
)
def test_a_slope_that_is_not_defined_fails(label, probability):
    """No error and no warning in the middle of a stage, and no pass either."""
    labels, scores = np.array(label), np.array(probability)
    assert math.isnan(calibration_slope(labels.astype(float), scores))
    found = verdict(labels, scores)
    assert found.verdict == "fail"
    assert "the calibration slope is nan" in found.reason


@pytest.mark.unit
@pytest.mark.parametrize("odd", [math.nan, math.inf, -0.1, 1.5])
def test_a_score_that_is_no_probability_fails(odd):
    """One is enough."""
    logit, label = drawn()
    probability = sigmoid(logit)
    probability[7] = odd
    found = verdict(label, probability)
    assert (found.verdict, found.reason) == ("fail", f"1 of {ROWS} scores are no probabilities")


@pytest.mark.unit
def test_certainties_are_probabilities():
    """0 and 1 are allowed; being wrong with them costs slope, not an error."""
    logit, label = drawn()
    probability = sigmoid(logit)
    probability[:2] = 0.0, 1.0
    assert math.isfinite(calibration_slope(label, probability))


@pytest.mark.unit
def test_no_rows_fail():
    """An empty table shows nothing."""
    assert verdict(np.array([], int), np.array([])).verdict == "fail"


@pytest.mark.unit
@pytest.mark.parametrize("name", ["max_calibration_error", "min_slope", "max_slope"])
def test_a_threshold_of_nan_lets_nothing_pass(name):
    """Even where a policy was not read from its file."""
    logit, label = drawn()
    limits = msgspec.structs.replace(LIMITS, **{name: math.nan})
    assert verdict(label, sigmoid(logit), limits).verdict == "fail"


@pytest.mark.unit
def test_scores_that_are_no_probabilities_are_not_judged():
    """Distances to a border promise no frequency."""
    contract = msgspec.structs.replace(toy_contract("toy"), scores="decision")
    assert calibrated(np.array([0]), np.zeros((1, 3)), contract, LIMITS).verdict == "not applicable"


@at_full_size
def test_scores_made_too_sure_are_stopped(workshop):
    """Every logit tripled, in scikit-learn's trees and in the graph alike: the ranking stays what it was."""
    path = workshop.artifacts.model / "fitted.joblib"
    pipeline = joblib.load(path)
    trees = pipeline.named_steps["trees"]
    trees._baseline_prediction = trees._baseline_prediction * 3
    for (predictor,) in trees._predictors:
        predictor.nodes["value"] *= 3
    joblib.dump(pipeline, path)
    (workshop.artifacts.model / "model.onnx").write_bytes(to_onnx(pipeline, CONTRACT))
    workshop.rebuild(evaluate)
    assert "G07" in workshop.failed()
    assert not workshop.failed() & {"G09", "G12", "G15"}
    assert "too sure" in workshop.verdicts()["G07"].reason
    workshop.must_stop("G07")


@pytest.mark.slow
def test_classes_weighted_alike_are_stopped(workshop, patch_model):
    """Late flights counted as often as punctual ones: the ranking is as good, every probability too high."""

    def weighted(contract, rows, validation, params, seed):
        late = rows.filter(rows["label"] == 1)
        return boosted_trees(contract, rows.vstack(late).vstack(late).vstack(late), validation, params, seed)

    workshop.change("params.yaml", "train.max_iter", 40)
    patch_model(fit=weighted)
    workshop.rebuild(train)
    found = workshop.verdicts()["G07"]
    assert found.verdict == "fail"
    assert "the calibration error is" in found.reason
    workshop.must_stop("G07")
