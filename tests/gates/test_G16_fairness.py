"""G16 bites when one group is told, beside all others, what is not true of it."""

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.train import train
from tests.conftest import toy_contract
from tests.gates.workshop import at_full_size
from training import model as models
from training.gates.fairness import excess, fair
from training.gates.policy import Fair
from training.model import LABEL

LIMITS = Fair(margin=0.125, confidence=0.95, resamples=1000, seed=16, min_rows=50, min_blocks=5)
DAYS, A_DAY = 14, 60  # rows
BLOCKS = np.repeat(np.arange(DAYS), A_DAY)
GROUPS = np.array(["A", "B", "C"])[np.arange(len(BLOCKS)) % 3]


def off(by: float, group: str = "A") -> np.ndarray:
    """Scores that are right for everybody, and `by` too high for one group."""
    return np.where(group == GROUPS, by, 0.0)


def verdict(found: np.ndarray, groups: np.ndarray = GROUPS, limits: Fair = LIMITS, blocks=BLOCKS):
    """The verdict on one feature."""
    return fair(found, {"carrier": groups}, blocks, limits)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("by", "outcome"),
    [
        (0.0, "pass"),
        (0.125, "pass"),
        (-0.125, "pass"),
        (math.nextafter(0.125, 1), "fail"),
        (0.5, "fail"),
        (-0.5, "fail"),
    ],
)
def test_a_constant_gap_is_judged_by_itself(by, outcome):
    """Where every row is off by the same, the interval is that number; the margin is the last allowed."""
    found = verdict(off(by))
    assert found.verdict == outcome
    assert outcome == "pass" or "carrier A: scores are" in found.reason


@pytest.mark.unit
def test_what_is_off_for_all_alike_is_not_unfair():
    """A base rate that drifted is G07's matter."""
    assert verdict(np.full(len(BLOCKS), 0.4)).verdict == "pass"


@pytest.mark.unit
def test_a_gap_that_noise_can_explain_is_not_shown():
    """On one wild day the group is off by a whole; over its days that is far from certain."""
    wild = np.where((GROUPS == "A") & (BLOCKS == 3), 1.0, 0.0) * 3
    assert abs(wild[GROUPS == "A"].mean()) > LIMITS.margin
    assert verdict(wild).verdict == "pass"


@pytest.mark.unit
@given(seed=st.integers(0, 2**16), by=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_a_greater_gap_never_passes_where_a_smaller_one_failed(seed, by):
    """The verdict moves one way."""
    noise = np.random.default_rng(seed).normal(0, 0.4, len(BLOCKS))
    outcomes = [verdict(noise + off(amount)).verdict for amount in (by, by + 0.5)]
    assert outcomes != ["fail", "pass"] or noise[GROUPS == "A"].mean() < -0.05
    assert verdict(noise + off(2.0)).verdict == "fail"


@pytest.mark.unit
@given(seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(seed):
    """Groups and days are where they are, wherever their rows stand."""
    random = np.random.default_rng(seed)
    rows = random.normal(0.05, 0.4, len(BLOCKS))
    order = random.permutation(len(rows))
    here, there = verdict(rows), verdict(rows[order], GROUPS[order], blocks=BLOCKS[order])
    assert (here.verdict, here.reason) == (there.verdict, there.reason)


@pytest.mark.unit
def test_groups_that_are_too_small_are_named_and_not_judged():
    """Neither by rows nor by days; what is missing is a group as well."""
    groups = GROUPS.astype("<U9").copy()
    groups[:40] = "rare"
    groups[60:160] = "twodays"
    groups[-10:] = ""
    found = verdict(np.where(np.isin(groups, ["rare", "twodays", ""]), 0.9, 0.0), groups)
    assert found.verdict == "pass"
    left_out = "too few rows to judge: carrier (missing) (10), carrier rare (40), carrier twodays (100)"
    assert left_out in found.reason


@pytest.mark.unit
@pytest.mark.parametrize(
    "groups",
    [
        np.full(len(BLOCKS), "A"),
        np.arange(len(BLOCKS)).astype(str),
        np.where(np.arange(len(BLOCKS)) < 3, "B", "A"),
    ],
    ids=["one group", "each row its own", "hardly anybody else"],
)
def test_nothing_to_compare_fails(groups):
    """A declared feature that cannot be judged is no pass."""
    found = verdict(off(0.0), groups)
    assert found.verdict == "fail"
    assert "no two groups of carrier can be compared" in found.reason


@pytest.mark.unit
@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_score_that_is_not_a_number_fails(odd):
    """NaN must not average away."""
    rows = off(0.0)
    rows[7] = odd
    assert verdict(rows).reason == "1 scores are NaN or infinite"
    assert verdict(rows).verdict == "fail"


@pytest.mark.unit
def test_no_rows_fail():
    """An empty table shows nothing."""
    assert verdict(np.empty(0), np.empty(0, str), blocks=np.empty(0, int)).verdict == "fail"


@pytest.mark.unit
def test_a_margin_of_nan_lets_nothing_pass():
    """Even where a policy was not read from its file."""
    assert verdict(off(0.0), limits=msgspec.structs.replace(LIMITS, margin=math.nan)).verdict == "fail"


@pytest.mark.unit
def test_a_model_that_declares_no_groups_is_not_judged():
    """Whether that is allowed is the policy's to say."""
    assert fair(off(0.0), {}, BLOCKS, LIMITS).verdict == "not applicable"


@pytest.mark.unit
def test_excess_is_score_minus_outcome_or_the_mistake():
    """Probabilities by their last class; decisions have no unit, so they count mistakes."""
    label, scores = np.array([2, 0]), np.array([[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]], dtype=np.float32)
    contract = toy_contract("toy")
    assert excess(label, scores, contract).tolist() == [-0.5, 0.25]
    decisions = msgspec.structs.replace(contract, scores="decision")
    assert excess(np.array([2, 1]), scores, decisions).tolist() == [0.0, 1.0]


@pytest.mark.unit
@pytest.mark.parametrize("name", models.names())
def test_groups_are_categories_of_the_contract(name):
    """A number has no groups, and what is no input cannot be looked at by a monitor."""
    model = models.load(name)
    assert set(model.fair_by) <= {feature.name for feature in model.contract.categories}


@at_full_size
def test_a_model_that_accuses_one_carrier_is_stopped(workshop):
    """Half of its punctual flights were taken for late ones in the training rows."""
    for part in ("train", "validation"):
        rows = workshop.part(part)
        spoilt = (pl.col("carrier") == "B6") & (pl.int_range(pl.len()) % 2 == 0)
        flipped = pl.when(spoilt).then(pl.lit(1, rows.schema[LABEL])).otherwise(LABEL).alias(LABEL)
        workshop.replace_part(part, rows.with_columns(flipped))
    workshop.change("params.yaml", "train.max_iter", 60)
    workshop.rebuild(train)
    assert "carrier B6: scores are +" in workshop.verdicts()["G16"].reason
    workshop.must_stop("G16")
