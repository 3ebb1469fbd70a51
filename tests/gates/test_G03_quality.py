"""G03 bites when a model knows too little, and when it knows too much."""

import math

import numpy as np
import polars as pl
import pytest

from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.gates.policy import Bound
from training.gates.quality import over_thresholds
from training.model import LABEL

BOUNDS = (Bound("roc_auc", min=0.5, max=0.75), Bound("log_loss", max=0.5))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ({"roc_auc": 0.4, "log_loss": 0.4}, "roc_auc is 0.4, not >= 0.5 and <= 0.75"),
        ({"roc_auc": 0.9, "log_loss": 0.4}, "roc_auc is 0.9, not >= 0.5 and <= 0.75"),
        ({"roc_auc": 0.6, "log_loss": 0.6}, "log_loss is 0.6, not <= 0.5"),
        ({"roc_auc": math.nan, "log_loss": 0.4}, "roc_auc is nan"),
        ({"roc_auc": 0.6, "log_loss": math.inf}, "log_loss is inf"),
        ({"roc_auc": 0.6}, "log_loss is nan"),
    ],
    ids=["too low", "too high", "over the most", "NaN", "infinite", "not measured"],
)
def test_each_way_to_fail_is_named(metrics, problem):
    """The reason names the metric, its value and its bounds."""
    found = over_thresholds(metrics, BOUNDS)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
@pytest.mark.parametrize("value", [0.5, 0.6, 0.75])
def test_within_and_exactly_at_the_bounds_passes(value):
    """A bound is the last value that is allowed."""
    assert over_thresholds({"roc_auc": value, "log_loss": 0.5}, BOUNDS).verdict == "pass"


@pytest.mark.unit
@pytest.mark.parametrize("value", [np.nextafter(0.5, 0), np.nextafter(0.75, 1)])
def test_one_step_beyond_a_bound_fails(value):
    """The next float is too much."""
    assert over_thresholds({"roc_auc": value, "log_loss": 0.5}, BOUNDS).verdict == "fail"


@pytest.mark.unit
def test_both_metrics_are_named_when_both_fail():
    """Nobody has to fix one to hear of the other."""
    reason = over_thresholds({"roc_auc": 0.1, "log_loss": 0.9}, BOUNDS).reason
    assert "roc_auc is 0.1" in reason
    assert "log_loss is 0.9" in reason


@pytest.mark.unit
def test_a_policy_without_a_metric_lets_nothing_pass():
    """An emptied list is a mistake and not a permission."""
    assert over_thresholds({"roc_auc": 0.6}, ()).verdict == "fail"


@pytest.mark.unit
def test_a_bound_without_an_end_cannot_be_made():
    """It would be fulfilled by everything, NaN included."""
    with pytest.raises(ValueError, match="'roc_auc' has neither min nor max"):
        Bound("roc_auc")


@at_full_size
def test_shuffled_labels_are_stopped(workshop):
    """Labels that belong to other rows teach nothing, and the held-out rows show it."""
    rows = workshop.part("train")
    workshop.replace_part("train", rows.with_columns(rows[LABEL].shuffle(seed=1)))
    workshop.rebuild(train)
    assert "roc_auc" in workshop.verdicts()["G03"].reason
    workshop.must_stop("G03")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_a_held_out_period_that_cannot_be_measured_is_stopped(workshop):
    """Where nobody was late there is no ROC curve: NaN reaches the gate and passes no bound."""
    workshop.replace_part("test", workshop.part("test").filter(pl.col(LABEL) == 0))
    workshop.rebuild(evaluate)
    assert "roc_auc is nan" in workshop.verdicts()["G03"].reason
    workshop.must_stop("G03")


def test_a_metric_that_the_run_does_not_have_is_stopped(workshop):
    """A misspelt metric in policy.yaml does not switch the gate off."""
    workshop.change("policy.yaml", "gates.G03", [{"metric": "roc_auk", "min": 0.1}])
    workshop.rebuild(gate)
    workshop.must_stop("G03")
