"""Folds for hyperparameters look back only, and the held-out days are in none of them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigError
from training.model import AT, ID, LABEL, LABEL_AT, load
from training.models.iris import LENGTHS, Params
from training.splitting import RandomSplit, TimeSplit
from training.tuning import folds, score

pytestmark = pytest.mark.unit

START, UNTIL = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 10, tzinfo=UTC)


@pytest.fixture
def rows() -> pl.DataFrame:
    """One row every three hours until `UNTIL`, its label known ten hours later but never after `UNTIL`."""
    count = int((UNTIL - START) / timedelta(hours=3))
    moments = [START + timedelta(hours=3 * index) for index in range(count)]
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            ID: [f"{index:04d}" for index in range(count)],
            AT: moments,
            LABEL: rng.integers(0, 3, count),
            LABEL_AT: [min(moment + timedelta(hours=10), UNTIL) for moment in moments],
            **{name: rng.normal(size=count) for name in LENGTHS},
        },
        schema_overrides={AT: pl.Datetime("us", "UTC"), LABEL_AT: pl.Datetime("us", "UTC")},
    )


def test_the_first_fold_scores_on_the_validation_days(rows):
    """Five validation days before `UNTIL`; five before them stop; the rest trains."""
    (first,) = folds(rows, TimeSplit(test_days=14, validation_days=5), UNTIL, 1)
    assert first.parts.test[AT].min() == UNTIL - timedelta(days=5)
    assert first.parts.test[AT].max() < UNTIL
    assert first.parts.validation[AT].min() == UNTIL - timedelta(days=10)
    assert first.parts.train[AT].min() == START


def test_learning_stopping_and_scoring_follow_one_another_in_every_fold(rows):
    """Also by the moment at which labels arrived; each fold ends where the one before begins to score."""
    found = folds(rows, TimeSplit(14, 5), UNTIL, 3)
    ends = [UNTIL, *(fold.parts.test[AT].min() for fold in found)]
    for fold, end in zip(found, ends, strict=False):
        parts = fold.parts
        assert parts.train[LABEL_AT].max() < parts.validation[AT].min()
        assert parts.validation[LABEL_AT].max() < parts.test[AT].min()
        assert parts.test[LABEL_AT].max() <= end
    assert len({fold.name for fold in found}) == 3


def test_draws_at_random_differ_and_are_the_same_again(rows):
    """Seeds follow the split's own."""
    how = RandomSplit(test_share=0.3, validation_share=0.1, seed=7)
    found = folds(rows, how, UNTIL, 2)
    again = folds(rows, how, UNTIL, 2)
    assert not found[0].parts.test.equals(found[1].parts.test)
    assert [fold.parts.test.equals(other.parts.test) for fold, other in zip(found, again, strict=True)] == [
        True
    ] * 2


def test_too_many_folds_for_the_days_are_refused(rows):
    """There is nothing to learn from before the data begin."""
    with pytest.raises(ConfigError, match="the train part is empty"):
        folds(rows, TimeSplit(14, 5), UNTIL, 8)


def test_a_score_is_the_mean_loss_of_the_scoring_rows(rows):
    """For decision values the share of wrong labels, as counted by hand."""
    model = load("iris")
    (fold,) = folds(rows, RandomSplit(0.3, 0.1, 7), UNTIL, 1)
    found = score(model, fold, Params(C=1.0, gamma=0.5), 7)
    pipeline = model.fit(
        model.contract, fold.parts.train, fold.parts.validation, Params(1.0, 0.5), 7
    ).pipeline
    lengths = fold.parts.test.select(pl.col(LENGTHS).cast(pl.Float32)).to_numpy()
    wrong = pipeline.decision_function(lengths).argmax(axis=1) != fold.parts.test[LABEL].to_numpy()
    assert found.loss == pytest.approx(wrong.mean())
    assert 0 < found.loss < 1
