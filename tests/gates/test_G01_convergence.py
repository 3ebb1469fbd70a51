"""G01 bites when a learner diverges, breaks down, overfits, or has no curve where one is due."""

import math

import msgspec
import numpy as np
import pytest

from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.gates.learning import converges
from training.gates.policy import Convergence
from training.learning import logistic
from training.model import Curve
from training.models.flights import CONTRACT

LIMITS = Convergence(min_fall=0.25, max_rise=0.125, max_gap=0.25)


def verdict(validation: tuple[float, ...], train_end: float = 0.5):
    """The verdict on a validation curve whose training loss ends at `train_end`."""
    return converges(Curve("loss", (*validation[:-1], train_end), validation), LIMITS)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("validation", "train_end", "problem"),
    [
        ((1.0, 0.9, 0.8), 0.8, "fell by 0.2 of its start, under 0.25"),
        ((1.0, 1.5, 2.0), 2.0, "fell by 0 of its start"),
        ((1.0, 0.5, 0.75), 0.75, "ends 0.25 above its best, over 0.125"),
        ((1.0, 0.6, 0.5), 0.125, "ends 0.375 above training, over 0.25: overfitted"),
        ((1.0, 0.5, math.nan), 0.5, "losses are NaN or infinite"),
        ((math.nan, 0.5, 0.5), 0.5, "losses are NaN or infinite"),
        ((1.0, 0.5, 0.5), math.inf, "losses are NaN or infinite"),
    ],
)
def test_each_way_to_fail_is_named(validation, train_end, problem):
    """The reason says what was measured and what was allowed."""
    found = verdict(validation, train_end)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
@pytest.mark.parametrize(
    ("validation", "train_end"),
    [((1.0, 0.75), 0.75), ((1.0, 0.5, 0.625), 0.625), ((1.0, 0.5), 0.25), ((1.0, 0.5, 0.5), 0.5)],
    ids=["fall", "rise", "gap", "plateau"],
)
def test_exactly_at_the_threshold_passes(validation, train_end):
    """A threshold is the last value that is allowed."""
    assert verdict(validation, train_end).verdict == "pass"


@pytest.mark.unit
@pytest.mark.parametrize("validation", [(1.0, np.nextafter(0.75, 1)), (1.0, 0.5, np.nextafter(0.625, 1))])
def test_one_step_beyond_the_threshold_fails(validation):
    """The next float is too much."""
    assert verdict(validation, validation[-1]).verdict == "fail"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("curve", "problem"),
    [
        (Curve("loss", (), (1.0, 0.5)), "the training loss was not recorded"),
        (Curve("loss", (0.5, 0.5), (0.0, 0.0)), "the first validation loss is 0"),
        (Curve("loss", (0.5, 0.5), (-1.0, -2.0)), "the first validation loss is -1"),
    ],
)
def test_a_curve_that_cannot_be_judged_fails(curve, problem):
    """No error in the middle of a stage, and no pass either."""
    found = converges(curve, LIMITS)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
@pytest.mark.parametrize("name", ["min_fall", "max_rise", "max_gap"])
def test_a_threshold_of_nan_lets_nothing_pass(name):
    """Even where a policy was not read from its file."""
    limits = msgspec.structs.replace(LIMITS, **{name: math.nan})
    assert converges(Curve("loss", (1.0, 0.5), (1.0, 0.5)), LIMITS).verdict == "pass"
    assert converges(Curve("loss", (1.0, 0.5), (1.0, 0.5)), limits).verdict == "fail"


@pytest.mark.unit
def test_a_learner_without_a_curve_is_not_judged():
    """Nothing to judge is neither pass nor fail."""
    assert converges(Curve(""), LIMITS).verdict == "not applicable"


@at_full_size
def test_a_learning_rate_far_too_high_is_stopped(workshop):
    """The loss explodes from the first tree on."""
    workshop.change("params.yaml", "train.learning_rate", 50.0)
    workshop.rebuild(train)
    assert "fell by 0 of its start" in workshop.verdicts()["G01"].reason
    workshop.must_stop("G01")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy says what the gate is to find
def test_a_loss_that_becomes_nan_is_stopped(workshop):
    """NaN travels from the learner through the files to the gate, and is no missing value on the way."""
    workshop.change("params.yaml", "train.learning_rate", 1e308)
    workshop.rebuild(train)
    assert "NaN or infinite" in workshop.verdicts()["G01"].reason
    workshop.must_stop("G01")


def test_a_model_that_learnt_its_rows_by_heart_is_stopped(workshop):
    """Large leaves of few rows, a high rate and no early stopping: training far below validation."""
    by_heart = {
        "learning_rate": 0.4,
        "max_leaf_nodes": 127,
        "min_samples_leaf": 5,
        "l2_regularization": 0.0,
        "max_iter": 40,
        "patience": 40,
    }
    for name, value in by_heart.items():
        workshop.change("params.yaml", f"train.{name}", value)
    workshop.rebuild(train)
    assert "overfitted" in workshop.verdicts()["G01"].reason
    workshop.must_stop("G01")


def test_a_learner_without_a_curve_is_stopped_where_the_policy_wants_one(workshop, patch_model):
    """Flights must show its convergence: a model that cannot does not pass by silence."""
    use = tuple(feature.name for feature in CONTRACT.features)
    patch_model(fit=lambda contract, rows, _, __, seed: logistic(contract, rows, use, seed))
    workshop.rebuild(train)
    assert "which policy.yaml does not allow" in workshop.verdicts()["G01"].reason
    workshop.must_stop("G01")
