"""Rows are sound, mended or rejected; none is lost."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.validation import REASON, Rule, check, check_all

pytestmark = pytest.mark.unit

POSITIVE = Rule("positive", "must be positive", pl.col("x") > 0)
SMALL = Rule("small", "must be small", pl.col("x") < 100)
MENDED = Rule("calm", "a wild y is blanked", pl.col("y") < 10, ("y",))


def table(*pairs):
    """A table of x and y."""
    return pl.DataFrame(list(pairs), schema={"x": pl.Int64, "y": pl.Int64}, orient="row")


def test_a_sound_table_passes_whole():
    """Nothing caught, nothing rejected, counts of zero."""
    checked = check(table((1, 1), (2, 2)), (POSITIVE, SMALL, MENDED))
    assert checked.sound.equals(table((1, 1), (2, 2)))
    assert checked.rejected.is_empty()
    assert checked.counts == {"positive": 0, "small": 0, "calm": 0}


def test_a_bad_row_is_kept_apart_with_its_reason():
    """The row itself, and the name of the rule that rejected it."""
    checked = check(table((1, 1), (-5, 2)), (POSITIVE,))
    assert checked.sound.rows() == [(1, 1)]
    assert checked.rejected.rows(named=True) == [{"x": -5, "y": 2, REASON: "positive"}]
    assert checked.reasons == {"positive": "must be positive"}


def test_a_row_falls_to_the_first_rule_that_rejects_it():
    """It is counted once."""
    odd = Rule("odd", "must be odd", pl.col("x") % 2 == 1)
    checked = check(table((-4, 0), (4, 0), (3, 0)), (POSITIVE, odd))
    assert checked.counts == {"positive": 1, "odd": 1}
    assert checked.rejected[REASON].to_list() == ["positive", "odd"]


def test_a_repair_blanks_the_column_and_keeps_the_row():
    """The rest of the row is still worth having."""
    checked = check(table((1, 50), (2, 5)), (MENDED,))
    assert checked.sound.rows() == [(1, None), (2, 5)]
    assert checked.rejected.is_empty()
    assert checked.counts == {"calm": 1}


def test_a_repaired_value_is_nothing_to_judge_for_later_rules():
    """Once blanked it cannot reject its row."""
    strict = Rule("strict", "y at most 20", pl.col("y") <= 20)
    assert check(table((1, 50)), (MENDED, strict)).sound.rows() == [(1, None)]
    assert check(table((1, 50)), (strict, MENDED)).sound.is_empty()


def test_a_missing_value_is_sound():
    """There is nothing to judge; whether it may be missing is another rule's question."""
    checked = check(table((None, None)), (POSITIVE, SMALL, MENDED))
    assert checked.sound.height == 1
    assert sum(checked.counts.values()) == 0


def test_a_rule_may_ask_for_a_value():
    """`is_not_null` is never null itself, so it bites."""
    there = Rule("there", "x must be known", pl.col("x").is_not_null())
    assert check(table((None, 1), (1, 1)), (there,)).sound.rows() == [(1, 1)]


def test_an_empty_table_passes():
    """With its columns, and the column of reasons among the rejected."""
    checked = check(table(), (POSITIVE, MENDED))
    assert checked.sound.columns == ["x", "y"]
    assert checked.rejected.columns == ["x", "y", REASON]


def test_a_table_without_rules_passes_whole():
    """Tables come back in the order of their names."""
    checked = check_all({"b": table((-1, 1)), "a": table((-1, 1))}, {"a": (POSITIVE,)})
    assert list(checked) == ["a", "b"]
    assert [result.sound.height for result in checked.values()] == [0, 1]


values = st.none() | st.integers(-3, 120)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(values, values), max_size=30),
    st.permutations([POSITIVE, SMALL, MENDED]),
    st.integers(0, 3),
)
def test_every_row_is_either_sound_or_rejected(pairs, rules, many):
    """Whatever the rules and their order: no row is lost, none is doubled, every rejection is explained."""
    given_rows = table(*pairs)
    chosen = tuple(rules[:many])
    checked = check(given_rows, chosen)
    assert checked.sound.height + checked.rejected.height == given_rows.height
    assert checked.rejected.height == sum(checked.counts[rule.name] for rule in chosen if not rule.repair)
    assert set(checked.rejected[REASON]) <= set(checked.counts)
    # Column x is never repaired, so its values are conserved one by one.
    together = pl.concat([checked.sound["x"], checked.rejected["x"]])
    assert together.sort().equals(given_rows["x"].sort())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(values, values), max_size=30))
def test_checking_sound_rows_again_catches_nothing(pairs):
    """What passed once passes always."""
    rules = (POSITIVE, SMALL, MENDED)
    again = check(check(table(*pairs), rules).sound, rules)
    assert set(again.counts.values()) == {0}
