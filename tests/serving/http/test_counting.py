"""What is odd about rows is counted by whole runs as it would be row by row."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from serving.http.admission import INLINE_ROWS
from serving.http.oddities import JUDGED, Oddities, Packed
from serving.rows import decode_rows

pytestmark = pytest.mark.unit

CATEGORIES = (
    Feature(name="declared", kind="category", description="d", categories=("A", "B")),
    Feature(name="open", kind="category", description="d", nullable=True),
    Feature(name="both", kind="category", description="d", categories=("A", "B"), nullable=True),
    Feature(name="closed", kind="category", description="d", categories=("A",), unknown_category="refuse"),
)
NUMBERS = (
    Feature(
        name="bounded",
        kind="number",
        description="d",
        minimum=0,
        maximum=1,
        nullable=True,
        out_of_range="accept_and_count",
    ),
    Feature(name="free", kind="number", description="d"),
)
ROWS = st.fixed_dictionaries(
    {
        "declared": st.sampled_from("ABC"),
        "open": st.sampled_from(["A", "x", None]),
        "both": st.sampled_from(["A", "C", None]),
        "closed": st.just("A"),
        "bounded": st.sampled_from([-1.0, 0.0, 1.0, 2.0, None]),
        "free": st.floats(-5, 5),
    }
)


def oddities_of(features: tuple[Feature, ...]) -> tuple[Contract, Oddities]:
    """A contract with these features, and who counts for it."""
    contract = Contract(
        model="toy", features=features, target="t", classes=("no", "yes"), scores="probability"
    )
    return contract, Oddities(contract)


def packed(contract: Contract, rows: list[dict[str, Any]]) -> tuple[Packed, list[Counter[str]]]:
    """A run of `rows`, and what is odd about them, row by row."""
    names = {feature.name for feature in contract.features}
    found = decode_rows(contract, [{name: row[name] for name in names} for row in rows])
    exact = np.asarray(found.numbers, np.float64)
    return Packed(exact, found.numbers, found.categories), [
        found.out_of_range,
        found.unknown_category,
        found.missing,
    ]


@pytest.mark.parametrize(
    "features", [NUMBERS + CATEGORIES, CATEGORIES, NUMBERS], ids=["all", "words", "numbers"]
)
@given(runs=st.lists(st.lists(ROWS, min_size=1, max_size=INLINE_ROWS + 2), min_size=1, max_size=4))
def test_runs_are_counted_as_their_rows_are(features, runs) -> None:
    """Short runs and long ones, of whatever the contract lets in, in whatever company."""
    contract, oddities = oddities_of(features)
    expected = [Counter[str](), Counter[str](), Counter[str]()]
    noted = []
    for rows in runs:
        run, odd = packed(contract, rows)
        noted.append(oddities.noted(run))
        for into, counts in zip(expected, odd, strict=True):
            into.update(counts)
    found = [Counter[str](), Counter[str](), Counter[str]()]
    for part in oddities.count(noted):
        for into, counts in zip(found, part, strict=True):
            assert all(counts.values())  # a zero would be a series of its own
            into.update(counts)
    assert found == expected


@pytest.mark.parametrize(
    "features", [NUMBERS + CATEGORIES, CATEGORIES, NUMBERS], ids=["all", "words", "numbers"]
)
@pytest.mark.parametrize("order", ["C", "F"])
@given(rows=st.lists(ROWS, min_size=1, max_size=3 * INLINE_ROWS))
def test_a_long_run_is_judged_as_its_rows_are(features, order, rows) -> None:
    """At once, however its numbers lie in memory."""
    contract, oddities = oddities_of(features)
    run, odd = packed(contract, rows)
    found = oddities.judged(run._replace(exact=np.asarray(run.exact, order=order)))
    assert found is not None
    for counts, wanted in zip(found, odd, strict=True):
        assert all(counts.values())
        assert Counter(counts) == wanted
    assert list(JUDGED.count([found])) == [found]


@pytest.mark.parametrize("value", [3.5e38, -3.5e38, 11, -1, 10.000001])
def test_a_long_run_with_a_number_that_is_refused_is_not_judged(value) -> None:
    """Too large for 32 bits, or beyond what the contract lets in; at its bounds all is well."""
    strict = Feature(name="strict", kind="number", description="d", minimum=0, maximum=10, nullable=True)
    free = Feature(name="free", kind="number", description="d")
    _, oddities = oddities_of((strict, free))

    def judged(*exact: list[float]) -> object:
        matrix = np.array(exact, np.float64)
        return oddities.judged(Packed(matrix, np.zeros(matrix.shape, np.float32), None))

    assert strict.out_of_range == "refuse"
    assert judged([0, 0], [np.nan, 3.4e38], [10, -3.4e38]) == ({}, {}, {"strict": 1})
    assert judged([np.nan, 1.0]) == ({}, {}, {"strict": 1})
    assert judged([0, 0], [value, 0], [np.nan, 0]) is None
    assert (judged([1, 0], [1, value]) is None) == (abs(value) > 3.4e38)
