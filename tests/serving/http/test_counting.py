"""What is odd about rows is counted by whole runs as it would be row by row."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from serving.http.admission import INLINE_ROWS
from serving.http.oddities import Oddities, Packed
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
        "bounded": st.sampled_from([0.0, 1.0, 2.0, None]),
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
