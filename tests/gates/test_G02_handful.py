"""G02 bites when the code that learns does not learn what it is given."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest

from pipelines.probe import handful as probed
from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.gates.handful import REPEATS, ROWS, Memorised, handful, memorise, overfits
from training.gates.policy import Overfit
from training.learning import boosted_trees, support_vectors
from training.model import LABEL, Fitted
from training.models import flights, iris

LIMITS = Overfit(max_loss=0.125)


def verdict(loss: float, classes: int = 2):
    """The verdict on a handful of two classes."""
    return overfits(Memorised(rows=64, classes=classes, loss=loss, errors=1), 2, LIMITS)


def flowers() -> pl.DataFrame:
    """A hundred flowers of each of three kinds, far apart, and one flower that is said to be of two."""
    random = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 100)
    rows = pl.DataFrame({name: random.normal(size=300) + 4 * label for name in iris.LENGTHS})
    rows = rows.with_columns(pl.Series(LABEL, label))
    return pl.concat([rows, rows[:1].with_columns(pl.lit(2, pl.Int64).alias(LABEL))])


@pytest.mark.unit
@pytest.mark.parametrize("loss", [np.nextafter(0.125, 1), 0.69, math.inf, math.nan])
def test_a_loss_over_the_limit_fails(loss):
    """The next float is too much; what is no number is too much, too."""
    assert verdict(loss).verdict == "fail"
    assert "still have a loss of" in verdict(loss).reason


@pytest.mark.unit
def test_exactly_at_the_limit_passes():
    """A threshold is the last value that is allowed."""
    assert verdict(0.125).verdict == "pass"


@pytest.mark.unit
def test_a_handful_of_one_class_shows_nothing():
    """Who answers always the same has learnt it by heart."""
    assert verdict(0.0, classes=1).reason == "the handful shows 1 of 2 classes"


@pytest.mark.unit
def test_the_handful_is_balanced_drawn_by_seed_and_can_be_learnt():
    """As many of each class, the same with the same seed, and no rows alike that differ in their label."""
    rows = flowers()
    few = handful(rows, iris.CONTRACT, 1)
    assert few[LABEL].value_counts().sort(LABEL)["count"].to_list() == [ROWS // 3] * 3
    assert few.equals(handful(rows, iris.CONTRACT, 1))
    assert not few.equals(handful(rows, iris.CONTRACT, 2))
    assert rows[0].select(iris.LENGTHS).row(0) not in set(few.select(iris.LENGTHS).rows())


@pytest.mark.unit
def test_a_sound_learner_learns_the_handful():
    """The shipped fit of iris, with each row as often as the gate repeats it."""
    seen = []

    def fit(contract, rows, validation, _params, seed):
        seen.append((rows.height, validation.height))
        return support_vectors(contract, rows, 1.0, "scale", seed)

    found = memorise(model_with(iris, fit), flowers(), None, 0)
    assert seen == [(found.rows * REPEATS, found.rows)]
    assert (found.classes, found.loss) == (3, 0.0)


@pytest.mark.unit
def test_columns_in_another_order_than_the_contracts_show():
    """The graph is asked, in the contract's order: what was fitted in another answers something else."""

    def turned(contract, rows, _validation, _params, seed):
        names = dict(zip(iris.LENGTHS, reversed(iris.LENGTHS), strict=True))
        return support_vectors(contract, rows.rename(names), 1.0, "scale", seed)

    rows = flowers().with_columns(pl.col("petal_width") * -3)
    assert memorise(model_with(iris, turned), rows, None, 0).loss > 0.3


def model_with(module, fit):
    """The model of `module` with another `fit`."""
    return dataclasses.replace(module.MODEL, fit=fit)


def blind(contract, rows, _validation, params, seed) -> Fitted:
    """A fit that is given whether a row's number is odd, in place of every feature."""
    odd = pl.int_range(pl.len()) % 2
    given = rows.with_columns(
        *(odd.cast(pl.Float64).alias(feature.name) for feature in contract.numbers),
        *(odd.cast(pl.String).alias(feature.name) for feature in contract.categories),
    )
    return boosted_trees(contract, given, given, params, seed)


def shuffled(contract, rows, validation, params, seed) -> Fitted:
    """A fit that puts the labels beside the wrong rows."""
    return boosted_trees(contract, rows.with_columns(pl.col(LABEL).shuffle(seed=1)), validation, params, seed)


@pytest.mark.parametrize("fit", [blind, shuffled])
def test_a_fit_that_loses_what_it_is_given_is_stopped(workshop, patch_model, fit):
    """No features, or the labels of other rows: not even a handful is learnt."""
    workshop.change("params.yaml", "train.max_iter", 40)
    patch_model(fit=fit)
    workshop.rebuild(train, probes=(probed,))
    assert "G02" in workshop.failed()
    workshop.must_stop("G02")


@at_full_size
def test_a_learner_that_takes_no_steps_is_stopped(workshop):
    """A learning rate of next to nothing: every tree is built, and none counts."""
    workshop.change("params.yaml", "train.learning_rate", 1e-9)
    workshop.change("params.yaml", "train.max_iter", 40)
    workshop.rebuild(train, probes=(probed,))
    assert "still have a loss of 0.69" in workshop.verdicts()["G02"].reason
    workshop.must_stop("G02")


def test_the_shipped_fit_passes_where_those_are_stopped(workshop):
    """Few trees at the same place of the pipeline, and the handful is learnt: the break is what bites."""
    workshop.change("params.yaml", "train.max_iter", 80)
    assert flights.MODEL.fit is flights.fit
    workshop.rebuild(train, probes=(probed,))
    assert workshop.verdicts()["G02"].verdict == "pass"
