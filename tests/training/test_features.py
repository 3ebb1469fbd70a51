"""Features of the past, with answers computed by hand."""

import msgspec
import polars as pl
import pytest

from contract.errors import ConfigError
from contract.schema import Aggregate, Feature
from tests.training.worlds import declared, events, minute, past, rows
from training.features import aggregates

pytestmark = pytest.mark.unit

STATISTICS = ("mean", "count", "sum", "latest")


def answer(stream, *specs, table=None):
    """The features of one row at noon."""
    table = rows(minute(0)) if table is None else table
    contract = declared(*specs)
    found = aggregates(table, {"departures": stream}, contract)
    return found.select(feature.name for feature in contract.features).row(0)


def test_each_statistic_is_the_hand_computed_one():
    """Delays of 10, 20 and 60 minutes in the last hour: mean 30, count 3, sum 90, latest 20."""
    stream = events((minute(-50), 10), (minute(-30), 60), (minute(-5), 20))
    assert answer(stream, *(past(statistic) for statistic in STATISTICS)) == (30.0, 3.0, 90.0, 20.0)


def test_a_mean_keeps_its_fraction():
    """(1 + 2) / 2 of whole minutes is one and a half."""
    assert answer(events((minute(-2), 1), (minute(-1), 2)), past("mean")) == (1.5,)


def test_a_share_is_the_mean_of_zeros_and_ones():
    """One late flight of four."""
    stream = events(*((minute(-number), int(number == 3)) for number in range(1, 5)))
    assert answer(stream, past("mean")) == (0.25,)


def test_an_event_at_the_moment_of_prediction_counts():
    """What became known at t is known at t."""
    assert answer(events((minute(0), 7)), *map(past, STATISTICS)) == (7.0, 1.0, 7.0, 7.0)


def test_an_event_right_after_the_moment_of_prediction_does_not_count():
    """One second later is the future."""
    assert answer(events((minute(0, seconds=1), 7)), *map(past, STATISTICS)) == (None, 0.0, 0.0, None)


def test_an_event_exactly_one_window_ago_does_not_count():
    """The window is open at its far end."""
    assert answer(events((minute(-60), 7)), *map(past, STATISTICS)) == (None, 0.0, 0.0, None)


def test_an_event_right_inside_the_window_counts():
    """One second less than a window ago."""
    assert answer(events((minute(-60, seconds=1), 7)), *map(past, STATISTICS)) == (7.0, 1.0, 7.0, 7.0)


def test_without_events_a_mean_is_unknown_and_a_count_is_zero():
    """Nothing happened is a fact for a count, and no fact for a mean."""
    assert answer(events(), *map(past, STATISTICS)) == (None, 0.0, 0.0, None)


def test_old_events_leave_the_window_again():
    """Running totals do not remember what lies before the window."""
    stream = events((minute(-300), 1000), (minute(-200), 1000), (minute(-10), 4))
    assert answer(stream, *map(past, STATISTICS)) == (4.0, 1.0, 4.0, 4.0)


def test_without_an_end_every_event_so_far_counts():
    """The first event of all is as good as the last one; what comes later is still no event."""
    stream = events((minute(-500_000), 1), (minute(-300), 4), (minute(-10), 4), (minute(1), 1000))
    assert answer(stream, *(past(statistic, 0) for statistic in STATISTICS)) == (3.0, 3.0, 9.0, 4.0)


def test_without_an_end_and_without_events_nothing_is_known_either():
    """The same answers as of an empty window."""
    stream = events((minute(1), 7))
    assert answer(stream, *(past(statistic, 0) for statistic in STATISTICS)) == (None, 0.0, 0.0, None)


def test_changes_that_cancel_out_leave_nothing():
    """Two came and two went: the sum of all changes is how many are there."""
    stream = events((minute(-900), 1), (minute(-800), 1), (minute(-30), -1), (minute(-5), -1))
    table = rows(minute(-850), minute(-60), minute(0))
    found = aggregates(table, {"departures": stream}, declared(past("sum", 0)))
    assert found["f0"].to_list() == [1.0, 2.0, 0.0]


def test_a_fraction_is_not_summed():
    """Totals of fractions depend on the order of events, so none is declared."""
    stream = events((minute(-5), 0)).with_columns(pl.lit(0.1).alias("delay"))
    with pytest.raises(ConfigError, match="'delay' of the stream 'departures' is summed and of type Float64"):
        answer(stream, past("mean"))


def test_events_at_one_moment_all_count():
    """Three departures in one minute are three."""
    stream = events(*[(minute(-1), delay) for delay in (1, 2, 6)])
    assert answer(stream, past("mean"), past("count"), past("sum")) == (3.0, 3.0, 9.0)


@pytest.mark.parametrize("order", [(1, 6, 2), (6, 2, 1), (2, 1, 6)])
def test_the_latest_of_several_at_one_moment_does_not_hang_on_their_order(order):
    """The largest stands for the moment."""
    assert answer(events(*[(minute(-1), delay) for delay in order]), past("latest")) == (6.0,)


def test_the_latest_is_the_last_and_not_the_largest():
    """An older, larger value is past."""
    assert answer(events((minute(-9), 90), (minute(-1), 5)), past("latest")) == (5.0,)


def test_a_missing_value_is_not_a_zero():
    """Of 4 and nothing the mean is 4; both are still events."""
    stream = events((minute(-9), 4), (minute(-8), None))
    assert answer(stream, *map(past, STATISTICS)) == (4.0, 2.0, 4.0, None)


def test_only_missing_values_have_no_mean():
    """An event without a value says nothing about the value."""
    assert answer(events((minute(-9), None)), past("mean"), past("count")) == (None, 1.0)


def test_windows_of_different_lengths_stand_side_by_side():
    """One feature looks back an hour, the other a day."""
    stream = events((minute(-600), 10), (minute(-10), 20))
    assert answer(stream, past("mean", 60), past("mean", 1440), past("count", 5)) == (20.0, 15.0, 0.0)


def test_only_events_of_the_same_key_count():
    """Another airport's delays are not this one's."""
    stream = pl.concat([events((minute(-5), 10)), events((minute(-5), 99), origin="EWR")])
    assert answer(stream, past("mean"), past("count")) == (10.0, 1.0)


def test_several_keys_must_all_be_the_same():
    """Another carrier at the same airport, and the same carrier elsewhere, are others."""
    stream = pl.concat(
        [
            events((minute(-5), 10)),
            events((minute(-4), 50), carrier="AA"),
            events((minute(-3), 70), origin="EWR"),
        ]
    )
    both = past("mean", by=("origin", "carrier"))
    assert answer(stream, both, past("mean", by=("carrier",)), past("mean")) == (10.0, 40.0, 30.0)


def test_a_row_without_a_key_sees_no_event():
    """An unknown key equals nothing, not even another unknown one."""
    stream = events((minute(-5), 10), origin=None)
    assert answer(stream, past("mean"), past("count"), table=rows(minute(0), origin=None)) == (None, 0.0)


def test_streams_do_not_mix():
    """A landing is no departure."""
    streams = {"departures": events((minute(-5), 1)), "landings": events((minute(-5), 9))}
    contract = declared(past("mean"), past("mean", stream="landings"))
    assert aggregates(rows(minute(0)), streams, contract).row(0) == ("r0", 1.0, 9.0)


def test_each_row_sees_its_own_past():
    """Rows at several moments, unsorted, each with what it could know."""
    stream = events((minute(-30), 1), (minute(10), 3), (minute(70), 5))
    table = rows(minute(100), minute(-60), minute(15))
    found = aggregates(table, {"departures": stream}, declared(past("sum"), past("count")))
    assert found.rows() == [("r0", 5.0, 1.0), ("r1", 0.0, 0.0), ("r2", 4.0, 2.0)]


def test_the_order_of_rows_and_events_does_not_matter():
    """Shuffled input gives the same table."""
    stream = events(*[(minute(-number), number) for number in range(100)])
    table = rows(*[minute(number) for number in range(-50, 50)])
    contract = declared(*map(past, STATISTICS))
    expected = aggregates(table, {"departures": stream}, contract)
    shuffled = {"departures": stream.sample(fraction=1, shuffle=True, seed=3)}
    assert aggregates(table.sample(fraction=1, shuffle=True, seed=4), shuffled, contract).equals(expected)


def test_a_contract_without_aggregates_asks_for_no_stream():
    """Only the ids come back."""
    length = Feature(name="length", kind="number", description="")
    without = msgspec.structs.replace(declared(past("count")), features=(length,))
    assert aggregates(rows(minute(0), minute(1)), {}, without).rows() == [("r0",), ("r1",)]


def test_a_value_may_be_a_fraction():
    """A reading such as 29.9 comes back as it is."""
    stream = events((minute(-5), 0)).with_columns(pl.lit(29.9).alias("temp"))
    assert answer(stream, Aggregate("departures", ("origin",), "latest", 60, "temp")) == (29.9,)
