"""Time decides what trains, what validates and what tests."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ConfigError
from training.splitting import RandomSplit, TimeSplit, split

pytestmark = pytest.mark.unit

AS_OF = datetime(2013, 4, 1, tzinfo=UTC)
TWO_WEEKS = TimeSplit(test_days=14, validation_days=14)
MOMENT = pl.Datetime("us", "UTC")


def back(days, *, seconds=0):
    """The moment so long before `AS_OF`."""
    return AS_OF - timedelta(days=days, seconds=seconds)


def examples(*facts):
    """One example a (moment, label, moment of the label)."""
    return pl.DataFrame(
        [(f"r{number:03d}", *fact) for number, fact in enumerate(facts)],
        schema={"id": pl.String, "at": MOMENT, "label": pl.Int64, "label_at": MOMENT},
        orient="row",
    )


def arrived(*days):
    """Examples so many days old, whose labels came three hours later."""
    return examples(*[(back(day), 0, back(day) + timedelta(hours=3)) for day in days])


def parts(table, how=TWO_WEEKS, as_of=AS_OF):
    """The ids of each part."""
    cut = split(table, how, as_of)
    return {name: getattr(cut, name)["id"].to_list() for name in ("train", "validation", "test")}


def test_the_last_days_test_and_the_days_before_validate():
    """Fourteen and fourteen; all that is older trains."""
    assert parts(arrived(40, 20, 5)) == {"train": ["r000"], "validation": ["r001"], "test": ["r002"]}


def test_a_period_begins_with_its_first_moment():
    """A row exactly 14 days old tests, exactly 28 days old validates; a second older and it does not."""
    second = timedelta(seconds=1)
    table = arrived(14, 28).vstack(
        examples(
            (back(14) - second, 0, back(14) - second / 2), (back(28) - second, 0, back(28) - second / 2)
        ).with_columns(pl.format("later{}", "id").alias("id"))
    )
    assert parts(table) == {"train": ["laterr001"], "validation": ["r001", "laterr000"], "test": ["r000"]}


def test_a_label_that_arrived_in_the_next_period_is_in_neither():
    """A flight of the evening before lands after midnight: training at midnight could not have known."""
    table = arrived(40, 20, 5).vstack(
        examples(
            (back(28, seconds=60), 1, back(28)),
            (back(28, seconds=60), 1, back(28, seconds=1)),
            (back(14, seconds=60), 1, back(14)),
            (back(14, seconds=60), 1, back(14, seconds=1)),
        ).with_columns(pl.format("late{}", "id").alias("id"))
    )
    assert parts(table) == {
        "train": ["r000", "later001"],
        "validation": ["r001", "later003"],
        "test": ["r002"],
    }


def test_a_label_that_has_not_arrived_is_not_used():
    """Not even when the flight was predicted in time; one that arrives at the very moment is."""
    late = examples(
        (back(1), 1, AS_OF + timedelta(seconds=1)), (back(1), 1, AS_OF), (back(1), None, None)
    ).with_columns(pl.format("late{}", "id").alias("id"))
    assert parts(arrived(40, 20, 5).vstack(late))["test"] == ["r002", "later001"]


def test_what_is_fitted_ends_where_the_test_begins():
    """Champion and challenger are compared after this moment."""
    assert split(arrived(40, 20, 5), TWO_WEEKS, AS_OF).fit_until == back(14)


@pytest.mark.parametrize(
    ("days", "part"), [((20, 5), "train"), ((40, 5), "validation"), ((40, 20), "test"), ((), "train")]
)
def test_an_empty_part_is_refused_by_name(days, part):
    """Training without one of the three would say nothing."""
    with pytest.raises(ConfigError, match=f"the {part} part is empty as of 2013-04-01"):
        split(arrived(*days), TWO_WEEKS, AS_OF)


def test_random_shares_are_of_the_whole():
    """Thirty and ten percent of a hundred rows; the rest trains."""
    cut = split(arrived(*[1] * 100), RandomSplit(test_share=0.3, validation_share=0.1, seed=7), AS_OF)
    assert [table.height for table in (cut.train, cut.validation, cut.test)] == [60, 10, 30]


def test_a_random_split_hangs_on_its_seed_alone():
    """Same seed, same rows, in whatever order they come; another seed, other rows."""
    how, other = (RandomSplit(test_share=0.3, validation_share=0.1, seed=seed) for seed in (7, 8))
    table = arrived(*range(1, 101))
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    assert parts(table, how) == parts(shuffled, how)
    assert parts(table, how) != parts(table, other)


@pytest.mark.parametrize("shares", [(1.0, 0.1), (0.0, 0.1), (0.5, 0.0), (0.5, 0.5), (0.9, 0.9)])
def test_shares_that_leave_a_part_empty_are_refused(shares):
    """More than everything, or nothing at all."""
    with pytest.raises(ConfigError, match="part is empty"):
        split(arrived(*[1] * 20), RandomSplit(*shares, seed=1), AS_OF)


ages = st.integers(-5, 60)
facts = st.tuples(ages, st.integers(0, 30), st.sampled_from([0, 1, None])).map(
    lambda drawn: (back(drawn[0]), drawn[2], None if drawn[2] is None else back(drawn[0] - drawn[1]))
)
hows = st.builds(TimeSplit, test_days=st.integers(1, 20), validation_days=st.integers(1, 20)) | st.builds(
    RandomSplit,
    test_share=st.floats(0, 1),
    validation_share=st.floats(0, 1),
    seed=st.integers(0, 9),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(facts, max_size=40), hows)
def test_parts_are_disjoint_and_hold_every_label_that_had_arrived(drawn, how):
    """No row is in two parts, none was labelled later, and only those labelled across a border are lost."""
    table = examples(*drawn)
    usable = table.filter(pl.col("label").is_not_null() & (pl.col("label_at") <= AS_OF))
    try:
        cut = split(table, how, AS_OF)
    except ConfigError:
        return
    together = pl.concat([cut.train, cut.validation, cut.test])
    assert together["id"].n_unique() == together.height
    assert cut.fit_until <= AS_OF
    if isinstance(how, RandomSplit):
        assert sorted(together["id"]) == sorted(usable["id"])
    else:
        borders = [back(how.test_days), back(how.test_days + how.validation_days)]
        across = pl.any_horizontal((pl.col("at") < edge) & (pl.col("label_at") >= edge) for edge in borders)
        assert sorted(together["id"]) == sorted(usable.filter(~across)["id"])
        assert cut.train["label_at"].max() < borders[1]
        assert cut.validation["label_at"].max() < borders[0]
        assert cut.train["at"].max() < cut.validation["at"].min()
        assert cut.validation["at"].max() < cut.fit_until <= cut.test["at"].min()
