"""Features of random small worlds, offline and incrementally, equal what looking at every event gives."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.building.walk import walk
from serving.features.online import OnlineFeatures
from tests.training.worlds import EVENT, ROW, declared, minute, oracle, past
from training.features import aggregates

# No `unit` where features are compiled: anew for every example, that takes too long for the fastest tests.

# A coarse clock and few keys, so that ties, boundaries and shared keys are common.
moments = st.integers(-12, 12).map(lambda ten: minute(10 * ten))
origins = st.sampled_from(["JFK", "EWR", None])
carriers = st.sampled_from(["UA", "AA"])
tables = st.lists(st.tuples(moments, origins, carriers), min_size=1, max_size=12).map(
    lambda drawn: pl.DataFrame(
        [(f"r{number:02d}", *row) for number, row in enumerate(drawn)], schema=ROW, orient="row"
    )
)
streams = st.lists(
    st.tuples(moments, origins, carriers, st.none() | st.integers(-60, 1500)), max_size=25
).map(lambda drawn: pl.DataFrame(drawn, schema=EVENT, orient="row"))
specs = st.builds(
    past,
    st.sampled_from(["mean", "count", "sum", "latest"]),
    st.sampled_from([0, 10, 30, 60, 120]),  # minutes; 0 has no end
    by=st.sampled_from([("origin",), ("carrier",), ("origin", "carrier"), ("carrier", "origin")]),
    stream=st.sampled_from(["departures", "landings"]),
)

# Windows with and without an end over one stream and key: they share what is kept and what is forgotten.
beside = st.lists(
    st.builds(past, st.sampled_from(["mean", "count", "sum", "latest"]), st.sampled_from([0, 30, 120])),
    min_size=2,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(tables, streams, streams, st.lists(specs, min_size=1, max_size=4))
def test_aggregates_equal_the_brute_force_answer(table, departures, landings, wanted):
    """Boundaries, ties, missing keys and missing values included."""
    world = {"departures": departures, "landings": landings}
    contract = declared(*wanted)
    found = aggregates(table, world, contract)
    assert found["id"].to_list() == sorted(table["id"])
    for name, values in oracle(table, world, contract).items():
        assert found[name].to_list() == values, name


@settings(max_examples=200, deadline=None)
@given(tables, streams, streams, st.lists(specs, min_size=1, max_size=4))
def test_a_walk_in_the_order_of_time_equals_the_brute_force_answer(table, departures, landings, wanted):
    """Each row is answered before later events come, and with what was forgotten on the way."""
    world = {"departures": departures, "landings": landings}
    contract = declared(*wanted)
    found = dict(walk(table, world, contract))
    for name, values in oracle(table, world, contract).items():
        assert [found[row][name] for row in sorted(found)] == values, name


@settings(max_examples=300, deadline=None)
@given(tables, streams, st.lists(specs, min_size=1, max_size=4) | beside, st.data())
def test_events_in_any_order_give_the_brute_force_answer(table, stream, wanted, data):
    """Late ones too, and those that come when what they belong to is already forgotten."""
    world = {"departures": stream, "landings": stream}
    contract = declared(*wanted)
    online = OnlineFeatures(contract)
    events = data.draw(st.permutations(stream.rows(named=True)))
    forget_at = data.draw(st.sets(st.integers(0, len(events)), max_size=3))
    horizon = min(minute(-1000), table["at"].min())
    for number, event in enumerate(events):
        if number in forget_at:
            horizon = max(horizon, data.draw(moments))
            online.forget(horizon)
        for name in online.streams:
            online.observe(name, event["at"], event)
    askable = table.filter(pl.col("at") >= horizon)
    expected = oracle(askable, world, contract)
    answers = [online.values(row, row["at"]) for row in askable.sort("id").iter_rows(named=True)]
    for name, values in expected.items():
        assert [answer[name] for answer in answers] == values, name


@settings(max_examples=15, deadline=None)
@given(tables, streams, streams, st.lists(specs, min_size=1, max_size=4), moments)
def test_the_rows_of_a_period_are_those_of_the_whole(table, departures, landings, wanted, since):
    """Leaving out the events that no window reaches changes nothing, with and without an end."""
    world = {"departures": departures, "landings": landings}
    contract = declared(*wanted)
    later = table.filter(pl.col("at") >= since)
    part = aggregates(later, world, contract, since)
    assert part.equals(aggregates(table, world, contract).filter(pl.col("id").is_in(later["id"].implode())))


@settings(max_examples=15, deadline=None)
@given(tables, streams, streams, specs)
def test_what_happens_later_changes_no_feature(table, departures, later, spec):
    """Adding events after a row's moment leaves its features as they were."""
    contract = declared(spec)
    last = table["at"].max()
    future = later.filter(pl.col("at") > last)
    before = aggregates(table, {spec.events: departures}, contract)
    after = aggregates(table, {spec.events: pl.concat([departures, future])}, contract)
    assert after.equals(before)
