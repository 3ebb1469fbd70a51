"""G04 bites when a model is no better than what costs nothing."""

import math

import pytest

from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.gates.policy import Beats
from training.gates.quality import beats_rivals
from training.learning import logistic
from training.model import Curve, Fitted

LIMITS = Beats(metric="log_loss", over_baseline=0.25, over_simple=0.125)


def verdict(model: float, baseline: float, simple: float, metric: str = "log_loss"):
    """The verdict on three values of one metric."""
    limits = Beats(metric, LIMITS.over_baseline, LIMITS.over_simple)
    return beats_rivals({metric: model}, {metric: baseline}, {metric: simple}, limits)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((0.5, 0.7, 0.7), "log_loss is better than the baseline's by 0.2, under 0.25"),
        ((0.5, 1.0, 0.6), "log_loss is better than the simple model's by 0.1, under 0.125"),
        ((0.5, 0.4, 1.0), "log_loss is worse than the baseline's by 0.1"),
        ((math.nan, 1.0, 1.0), "by nan"),
        ((0.5, math.nan, 1.0), "the baseline's by nan"),
        ((0.5, 1.0, math.nan), "the simple model's by nan"),
    ],
)
def test_each_way_to_fail_is_named(values, problem):
    """The reason says which rival, by how much and how much was wanted."""
    found = verdict(*values)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
def test_exactly_by_the_margins_passes():
    """A margin is the least that is enough."""
    assert verdict(0.5, 0.75, 0.625).verdict == "pass"
    assert verdict(0.5, math.nextafter(0.75, 0), 0.625).verdict == "fail"
    assert verdict(0.5, 0.75, math.nextafter(0.625, 0)).verdict == "fail"


@pytest.mark.unit
def test_a_score_is_better_when_higher():
    """Losses count downwards, everything else upwards."""
    assert verdict(0.9, 0.3, 0.6, "accuracy").verdict == "pass"
    assert verdict(0.3, 0.9, 0.6, "accuracy").verdict == "fail"


@pytest.mark.unit
def test_a_metric_that_was_not_measured_fails():
    """A misspelt metric does not switch the gate off."""
    assert beats_rivals({}, {}, {}, LIMITS).verdict == "fail"


def by_minute(contract, rows, _, __, seed):
    """A model that looks at the timetable's clock and at nothing else worth knowing."""
    return logistic(contract, rows, ("departure_minute", "origin"), seed)


def by_share(contract, rows, validation, params, seed):
    """A model that gives everybody the share of late flights: one tree too small to split."""
    import msgspec

    from training.learning import boosted_trees

    params = msgspec.structs.replace(params, min_samples_leaf=rows.height, max_iter=1)
    fitted = boosted_trees(contract, rows, validation, params, seed)
    return Fitted(fitted.pipeline, Curve("log_loss"))


@at_full_size
@pytest.mark.parametrize("fit", [by_minute, by_share])
def test_a_model_that_is_the_trivial_one_is_stopped(workshop, patch_model, fit):
    """It does not beat itself."""
    patch_model(fit=fit)
    workshop.rebuild(train)
    assert "G04" in workshop.failed()
    assert "simple model's by" in workshop.verdicts()["G04"].reason
    workshop.must_stop("G04")
