"""The prediction log's layout follows from the contract alone."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.predictions import COLUMNS, log_schema, segment_name
from contract.schema import Contract, Feature
from tests.contract.strategies import contracts

pytestmark = pytest.mark.unit

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def test_a_log_holds_each_feature_and_each_score_in_order():
    """Fixed columns first, then features as declared, then one score a class."""
    contract = Contract(
        model="toy",
        features=(
            Feature(name="colour", kind="category", description=""),
            Feature(name="length", kind="number", description=""),
        ),
        target="kind",
        classes=("a", "b"),
        scores="decision",
    )
    layout = log_schema(contract)
    assert list(layout) == [*COLUMNS, "feature.colour", "feature.length", "score.a", "score.b"]
    assert layout["feature.colour"] == pl.String
    assert layout["feature.length"] == layout["score.a"] == pl.Float64
    assert layout["event_time"] == pl.Datetime("us", "UTC")


@given(contracts())
def test_an_empty_log_can_be_made_from_any_contract(contract):
    """No feature or class can collide with another column."""
    frame = pl.DataFrame(schema=log_schema(contract))
    assert frame.width == len(COLUMNS) + len(contract.features) + len(contract.classes)


@given(moments, moments, st.integers(0, 999_999), st.integers(0, 999_999))
def test_segments_sort_by_time(early, late, first, second):
    """A reader finds a period by names alone."""
    names = segment_name(early, "w1", first), segment_name(late, "w1", second)
    assert (names[0] <= names[1]) == ((early, first) <= (late, second))


def test_a_segment_is_named_in_utc():
    """A writer in another zone sorts among the others."""
    start = datetime(2013, 4, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert segment_name(start, "w1", 7) == "20130401T000000000000-w1-000007.parquet"


def test_two_writers_at_one_moment_have_two_names():
    """Nobody overwrites another's segment."""
    start = datetime(2013, 4, 1, tzinfo=UTC)
    assert segment_name(start, "a", 1) != segment_name(start, "b", 1)
