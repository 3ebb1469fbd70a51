"""Our PSI is Evidently's PSI."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.psi import RARE, pool_rare, psi

pytestmark = pytest.mark.unit

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)
texts = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=100)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_psi_of_numbers_is_never_negative(ours, theirs):
    """Each bin's term is a product of two factors of one sign."""
    assert psi(pl.Series(ours), pl.Series(theirs)) >= 0


@settings(max_examples=60, deadline=None)
@given(texts, texts)
def test_psi_of_categories_is_never_negative(ours, theirs):
    """The same holds for counts by value."""
    assert psi(pl.Series(ours), pl.Series(theirs)) >= 0


@settings(max_examples=60, deadline=None)
@given(st.one_of(numbers, texts), st.randoms())
def test_psi_of_a_column_with_itself_is_zero_in_any_order(values, random):
    """Only shares matter, not order."""
    shuffled = list(values)
    random.shuffle(shuffled)
    assert psi(pl.Series(values), pl.Series(shuffled)) == 0


def test_psi_of_two_categories_is_the_hand_computed_sum():
    """(0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3)."""
    found = psi(pl.Series(list("aabb")), pl.Series(list("abbb")))
    assert found == pytest.approx(0.25 * np.log(2) - 0.25 * np.log(2 / 3))


def test_missing_and_infinite_values_do_not_count():
    """Missing rates are the business of data health."""
    clean, dirty = pl.Series([1.0, 2.0]), pl.Series([1.0, None, float("nan"), float("inf"), 2.0])
    assert psi(clean, dirty) == 0


def test_psi_without_a_usable_value_is_nan():
    """There is nothing to compare."""
    assert np.isnan(psi(pl.Series([1.0]), pl.Series([None], dtype=pl.Float64)))


def test_rare_categories_are_compared_as_one():
    """A new and a rare value become one value, a missing one stays missing."""
    ours = pl.DataFrame({"x": ["a"] * 99 + ["b"]})
    theirs = pl.DataFrame({"x": ["a", "b", "never seen", None]})
    pooled, current = pool_rare(ours, theirs, ["x"], 0.05)
    assert pooled["x"].to_list() == ["a"] * 99 + [RARE]
    assert current["x"].to_list() == ["a", RARE, RARE, None]
