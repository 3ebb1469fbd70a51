"""G05 bites when a challenger is not shown to be as good as the champion on the same rows."""

import dataclasses
import math
import re

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.comparing import compare
from pipelines.train import train
from tests.gates.conftest import EVERY
from tests.gates.workshop import at_full_size
from training.gates.champion import not_worse
from training.gates.policy import NotWorse
from training.model import AT

LIMITS = NotWorse(margin=0.25, confidence=0.95, resamples=400, seed=5, min_blocks=2)
DAYS, ROWS = 30, 40  # rows a day
BLOCKS = np.repeat(np.arange(DAYS), ROWS)
NUMBER = r"[-+]\d+\.\d+|[-+]?nan|[-+]?inf"


def interval(differences: np.ndarray, limits: NotWorse = LIMITS) -> tuple[float, float, float]:
    """Mean, lower and upper bound that G05 finds for these differences of the loss."""
    value = not_worse(differences, np.zeros(len(differences)), BLOCKS, limits).value
    mean, low, high = map(float, re.findall(NUMBER, value))
    return mean, low, high


def correlated(share: float, seed: int) -> np.ndarray:
    """Differences of variance 1, of which `share` is common to all rows of a day."""
    random = np.random.default_rng(seed)
    days = np.repeat(random.normal(size=DAYS), ROWS)
    return math.sqrt(share) * days + math.sqrt(1 - share) * random.normal(size=DAYS * ROWS)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("difference", "outcome", "word"),
    [(-0.5, "pass", "at most"), (0.0, "pass", "at most"), (0.5, "fail", "worse:"), (math.nan, "fail", "nan")],
)
def test_a_constant_difference_is_judged_by_itself(difference, outcome, word):
    """Where every row differs by the same, the interval is that number; NaN is never good enough."""
    found = not_worse(np.full(len(BLOCKS), difference), np.zeros(len(BLOCKS)), BLOCKS, LIMITS)
    assert found.verdict == outcome
    assert word in found.reason


@pytest.mark.unit
def test_exactly_at_the_margin_fails():
    """The margin is the first value that is too much: less than it must be shown."""
    at = not_worse(np.full(len(BLOCKS), 0.25), np.zeros(len(BLOCKS)), BLOCKS, LIMITS)
    below = not_worse(np.full(len(BLOCKS), 0.125), np.zeros(len(BLOCKS)), BLOCKS, LIMITS)
    assert (at.verdict, below.verdict) == ("fail", "pass")


@pytest.mark.unit
def test_too_few_blocks_are_no_comparison():
    """One day has no spread, so that its interval is a point; below the least number nothing passes."""
    better = np.full(ROWS * 3, -0.5)
    days = np.repeat(np.arange(3), ROWS)
    limits = msgspec.structs.replace(LIMITS, min_blocks=3)
    assert not_worse(better, np.zeros(len(better)), days, limits).verdict == "pass"
    for few in (1, 2):
        found = not_worse(better, np.zeros(len(better)), np.minimum(days, few - 1), limits)
        assert (found.verdict, found.value) == ("fail", f"{few} blocks")
        assert "too few to compare on, policy.yaml asks for 3" in found.reason
    assert not_worse(better[:0], better[:0], days[:0], limits).verdict == "fail"


@pytest.mark.unit
def test_an_inconclusive_comparison_keeps_the_champion():
    """Equal on average, but over so few different days that worse cannot be excluded."""
    noisy = np.repeat(np.where(np.arange(DAYS) % 2, 4.0, -4.0), ROWS)
    found = not_worse(noisy, np.zeros(len(noisy)), BLOCKS, LIMITS)
    assert found.verdict == "fail"
    assert "not shown to be as good" in found.reason


@pytest.mark.unit
@given(seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_days_that_move_together_widen_the_interval(seed):
    """The more the rows of a day share, the less a row is worth as evidence."""
    widths = []
    for share in (0.0, 0.3, 0.9):
        _, low, high = interval(correlated(share, seed))
        widths.append(high - low)
    assert widths == sorted(widths)


@pytest.mark.unit
@given(seed=st.integers(0, 2**16), order=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter(seed, order):
    """Blocks are days, wherever their rows stand."""
    differences = correlated(0.5, seed)
    shuffle = np.random.default_rng(order).permutation(len(differences))
    there = not_worse(differences, np.zeros(len(differences)), BLOCKS, LIMITS)
    here = not_worse(differences[shuffle], np.zeros(len(differences)), BLOCKS[shuffle], LIMITS)
    assert (here.verdict, here.value) == (there.verdict, there.value)


@pytest.mark.unit
@given(seed=st.integers(0, 2**16), worse=st.floats(0, 2))
@settings(max_examples=50, deadline=None)
def test_a_worse_challenger_never_passes_where_a_better_one_failed(seed, worse):
    """Adding to the challenger's loss moves the interval up by as much, and the verdict one way only."""
    differences = correlated(0.2, seed)
    zero = np.zeros(len(differences))
    before = not_worse(differences, zero, BLOCKS, LIMITS)
    after = not_worse(differences + worse, zero, BLOCKS, LIMITS)
    assert (before.verdict, after.verdict) != ("fail", "pass")
    assert interval(differences + worse) == pytest.approx(np.array(interval(differences)) + worse, abs=2e-4)


@pytest.mark.unit
@given(seed=st.integers(0, 2**16), margin=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_the_verdict_is_the_upper_bound_against_the_margin(seed, margin):
    """Pass exactly where the interval ends below the margin."""
    limits = msgspec.structs.replace(LIMITS, margin=margin)
    differences = correlated(0.4, seed)
    _, _, upper = interval(differences, limits)
    if abs(upper - margin) > 1e-4:  # the value is shown with four digits
        found = not_worse(differences, np.zeros(len(differences)), BLOCKS, limits)
        assert (found.verdict == "pass") == (upper < margin)


def learn_from_few(workshop):
    """Make the challenger one that saw only some of the rows."""
    workshop.replace_part("train", workshop.part("train").gather_every(EVERY))
    workshop.rebuild(train)


def test_a_challenger_that_learnt_from_few_rows_is_not_released(workshop):
    """Good enough for every other gate, worse than what is live: the champion is kept, exit 10."""
    champion = workshop.bundle.digest
    learn_from_few(workshop)
    assert workshop.failed() == set()
    workshop.must_stop("G05", exit_code=10, outcome="kept")
    assert workshop.qualification().champion == champion


@at_full_size
def test_a_challenger_whose_streams_fell_silent_is_not_released(workshop):
    """A state of the airport that never changed while training: other gates stop it too, and so does this."""
    streams = [item.name for item in workshop.bundle.contract.features if item.source == "stream"]
    rows = workshop.part("train")
    workshop.replace_part("train", rows.with_columns(pl.lit(0.0).alias(name) for name in streams))
    workshop.rebuild(train)
    workshop.must_stop("G05")


def test_a_better_challenger_is_accepted(uncrowned, weak):
    """Against the model of few rows the full one is clearly better: exit 0."""
    uncrowned.crown(weak)
    code, said = uncrowned.qualify()
    assert code == 0, said
    assert uncrowned.qualification().champion == weak.digest


def test_the_same_model_again_is_accepted(workshop):
    """A difference of nothing is below the margin: exit 0."""
    code, said = workshop.qualify()
    assert code == 0, said
    assert workshop.qualification().champion == workshop.bundle.digest


def test_without_a_champion_the_policy_decides(uncrowned):
    """Where nothing is live, G05 does not apply; a policy that demands it lets nothing through."""
    assert uncrowned.qualify()[0] == 0
    uncrowned.change("policy.yaml", "gates.may_not_apply", [])
    uncrowned.must_stop("G05")


def test_a_champion_that_saw_the_test_rows_is_no_comparison(workshop):
    """Had the champion been fitted on them, equal loss would mean nothing: it is kept."""
    bundle = workshop.bundle
    test = workshop.part("test")
    later = msgspec.structs.replace(
        bundle.environment, held_out="another", fit_until=test[AT].max().isoformat()
    )
    found = compare(
        bundle, dataclasses.replace(bundle, environment=later), test, workshop.limits, by_day=True
    )
    assert found.verdict == "fail"
    assert "the champion was fitted on rows until" in found.reason


def test_a_champion_whose_features_are_built_no_more_is_no_comparison(workshop):
    """A champion that cannot be asked on these rows stays until somebody looks."""
    test = workshop.part("test").drop("weather_temp")
    found = compare(workshop.bundle, workshop.bundle, test, workshop.limits, by_day=True)
    assert found.verdict == "fail"
    assert "the champion needs weather_temp" in found.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scores": "decision"}, "the champion's scores are decision"),
        ({"classes": ("a", "b")}, "classes are"),
    ],
)
def test_a_champion_that_answers_something_else_is_no_comparison(workshop, change, word):
    """Log loss against a count of mistakes, or other classes: a difference of the two means nothing."""
    bundle = workshop.bundle
    other = dataclasses.replace(bundle, contract=msgspec.structs.replace(bundle.contract, **change))
    found = compare(bundle, other, workshop.part("test"), workshop.limits, by_day=True)
    assert found.verdict == "fail"
    assert word in found.reason


def test_a_test_period_of_one_day_is_no_comparison(workshop):
    """A held-out day must not be taken for rows without days, each of which would be a block."""
    test = workshop.part("test")
    day = test.filter(pl.col(AT).dt.date() == test[AT][0].date())
    found = compare(workshop.bundle, workshop.bundle, day, workshop.limits, by_day=True)
    assert (found.verdict, found.value) == ("fail", "1 blocks")
    assert compare(workshop.bundle, workshop.bundle, day, workshop.limits, by_day=False).verdict == "pass"


def test_a_policy_that_wants_more_days_keeps_the_champion(workshop):
    """The number of days is read from policy.yaml."""
    workshop.change("policy.yaml", "gates.G05.min_blocks", 8)
    workshop.must_stop("G05", exit_code=10, outcome="kept")
