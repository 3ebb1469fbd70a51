"""Random contracts that do not contradict themselves."""

from hypothesis import strategies as st

from contract.schema import Aggregate, Contract, Feature

names = st.text("abcdefghij_", min_size=1, max_size=8)
texts = st.text(max_size=12)
bounds = st.floats(-1e6, 1e6)
rules = st.sampled_from(["refuse", "accept_and_count"])
aggregates = st.builds(
    Aggregate,
    events=names,
    by=st.lists(names, min_size=1, max_size=2, unique=True).map(tuple),
    statistic=st.sampled_from(["mean", "count", "sum", "latest"]),
    window_minutes=st.integers(0, 100_000),
    value=names,
)


@st.composite
def features(draw, name):
    """A number with or without bounds and aggregate, or a category with or without a closed list."""
    common = {
        "name": name,
        "description": draw(texts),
        "unit": draw(texts),
        "nullable": draw(st.booleans()),
        "out_of_range": draw(rules),
        "unknown_category": draw(rules),
    }
    if draw(st.booleans()):
        listed = st.lists(texts, max_size=3, unique=True).map(tuple)
        return Feature(kind="category", categories=draw(listed), **common)
    low, high = sorted((draw(bounds), draw(bounds)))
    aggregate = draw(st.none() | aggregates)
    return Feature(
        kind="number",
        minimum=draw(st.sampled_from([None, low])),
        maximum=draw(st.sampled_from([None, high])),
        aggregate=aggregate,
        source=draw(st.sampled_from(["request", "batch"] if aggregate is None else ["batch", "stream"])),
        **common,
    )


@st.composite
def contracts(draw):
    """One to four features and two to four classes."""
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return Contract(
        model=draw(names),
        features=tuple(draw(features(name)) for name in chosen),
        target=draw(texts),
        classes=tuple(draw(st.lists(texts, min_size=2, max_size=4, unique=True))),
        scores=draw(st.sampled_from(["probability", "decision"])),
        lead_minutes=draw(st.integers(0, 10_000)),
        routes=tuple(draw(st.lists(texts, max_size=2))),
    )
