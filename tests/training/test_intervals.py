"""How sure a mean difference is."""

import math

import numpy as np
import pytest

from training.intervals import paired_bootstrap

pytestmark = pytest.mark.unit

DAYS = np.repeat(np.arange(20), 30)


def interval(difference, blocks=DAYS, seed=3):
    """A 95 % interval."""
    return paired_bootstrap(difference, blocks, 0.975, 500, seed)


def test_the_interval_holds_the_mean_and_counts_the_blocks():
    """Lower, mean and upper are in that order; a block is a day."""
    difference = np.random.default_rng(0).normal(0.2, 1, len(DAYS))
    found = interval(difference)
    assert found.lower < found.mean < found.upper
    assert found.mean == pytest.approx(difference.mean())
    assert found.blocks == 20


def test_a_difference_that_never_varies_is_certain():
    """The interval is a point."""
    found = interval(np.full(len(DAYS), 0.25))
    assert (found.lower, found.mean, found.upper) == (0.25, 0.25, 0.25)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of two hundred samples with a mean of zero, most but not all have an interval that holds it."""
    random = np.random.default_rng(1)
    days = np.arange(60)
    found = [interval(random.normal(size=60), days, seed) for seed in range(200)]
    held = sum(item.lower <= 0 <= item.upper for item in found)
    # 95 % of 200 is 190; the percentile method falls a little short, and five standard errors are 15.
    assert 172 <= held < 200


def test_rows_that_move_together_count_as_one():
    """The same rows, once with a day in common and once without: the interval of the former is wider."""
    day = np.repeat(np.random.default_rng(2).normal(size=20), 30)
    by_day, by_row = interval(day), interval(day, np.arange(len(day)))
    assert by_day.upper - by_day.lower > 3 * (by_row.upper - by_row.lower)


def test_the_same_seed_gives_the_same_bounds_and_another_gives_others():
    """Nothing is drawn from anywhere else."""
    difference = np.random.default_rng(4).normal(size=len(DAYS))
    assert interval(difference) == interval(difference)
    assert interval(difference).lower != interval(difference, seed=4).lower


def test_without_rows_there_is_no_interval():
    """NaN, and no block."""
    found = interval(np.array([]), np.array([]))
    assert math.isnan(found.mean)
    assert math.isnan(found.upper)
    assert found.blocks == 0


def test_a_loss_that_broke_breaks_the_interval():
    """NaN is never taken for a small number."""
    difference = np.zeros(len(DAYS))
    difference[5] = math.nan
    found = interval(difference)
    assert math.isnan(found.mean)
    assert math.isnan(found.upper)
