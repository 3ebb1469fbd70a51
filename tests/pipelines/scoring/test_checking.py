"""Many rows at once are judged as the service judges each of them, and become the same arrays."""

import math
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import FlightlineError
from contract.schema import Contract, Feature
from pipelines.scoring.checking import check, check_columns
from serving.rows import RowsRefusedError, decode_rows
from tests.serving.http.bad_inputs.world import shop_contract
from training import model as models

pytestmark = pytest.mark.unit


def feature(name, kind="number", **rules):
    """One feature."""
    return Feature(name=name, kind=kind, description="", **rules)


CONTRACT = Contract(
    model="toy",
    features=(
        feature("strict", minimum=-1, maximum=10),
        feature("letter", "category", categories=("A", "B"), unknown_category="refuse"),
        feature("lenient", minimum=0, maximum=1, out_of_range="accept_and_count", nullable=True),
        feature("low", minimum=3),
        feature("word", "category", nullable=True),
        feature("known", "category", categories=("A", "B"), nullable=True),
    ),
    target="kind",
    classes=("a", "b"),
    scores="decision",
)
NUMBERS = st.one_of(
    st.none(), st.floats(), st.sampled_from([0.0, -1.0, 10.0, 3.0, 1e38, 3.5e38, math.nextafter(10, 11)])
)
TEXTS = st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["A", "B", "", "\0", "a\0b", "A "]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {item.name: NUMBERS if item.kind == "number" else TEXTS for item in CONTRACT.features}
    ),
    min_size=1,
    max_size=12,
)
SCHEMA = {item.name: pl.Float64 if item.kind == "number" else pl.String for item in CONTRACT.features}


def alone(row):
    """What the service makes of a row: its arrays, or its first sentence."""
    try:
        return decode_rows(CONTRACT, [row], "row"), ""
    except RowsRefusedError as error:
        return None, f"{error.problems[0].field}: {error.problems[0].found}"


@settings(deadline=None)  # what is asked is equality, and a busy machine takes its time
@given(ROWS)
def test_a_table_is_judged_as_its_rows_would_be(rows):
    """Accepted are the same rows, and their arrays are equal to the bit."""
    checked = check(CONTRACT, pl.DataFrame(rows, schema=SCHEMA))
    single = [alone(row)[0] for row in rows]
    assert checked.accepted.tolist() == [made is not None for made in single]
    sound = [made for made in single if made is not None]
    assert checked.refused.keys() == {index for index, made in enumerate(single) if made is None}
    if sound:
        numbers = np.concatenate([made.numbers for made in sound])
        assert checked.numbers.tobytes() == numbers.tobytes()
        assert checked.categories.tolist() == np.concatenate([made.categories for made in sound]).tolist()
    assert checked.numbers.shape == (len(sound), 3)


def test_integers_become_the_floats_that_json_numbers_become():
    """Over 53 bits they are rounded twice, as the service rounds them."""
    contract = Contract(
        model="toy", features=(feature("big"),), target="kind", classes=("a", "b"), scores="decision"
    )
    values = [2**53 + 1, 2**60 + 2**35 + 1, sys.maxsize, -(2**62) - 3]
    checked = check(contract, pl.DataFrame({"big": values}))
    expected = decode_rows(contract, [{"big": value} for value in values]).numbers
    assert checked.numbers.tobytes() == expected.tobytes()
    assert checked.categories is None


def test_the_sentence_is_the_services():
    """Which feature, what was found, what was expected."""
    row = {"strict": 11.0, "letter": "A", "lenient": None, "low": 5.0, "word": None, "known": None}
    checked = check(CONTRACT, pl.DataFrame([row], schema=SCHEMA))
    assert checked.refused == {0: "strict is 11; expected a number, at least -1.0 and at most 10.0"}


def test_a_nullable_feature_may_be_absent_altogether():
    """As it may be in a request."""
    rows = pl.DataFrame({"strict": [1.0], "letter": ["A"], "low": [3]})
    check_columns(CONTRACT, rows.schema, "t")
    checked = check(CONTRACT, rows)
    assert checked.accepted.all()
    assert np.isnan(checked.numbers[0, 1])


def test_a_stored_feature_may_be_null_and_not_absent():
    """The service would look up what is absent; a null says that nothing is known."""
    contract = shop_contract()
    rows = pl.DataFrame({"width": [1.0], "height": [None], "letter": ["A"]})
    check_columns(contract, rows.schema, "t")
    assert np.isnan(check(contract, rows).numbers[0, 1])
    check_columns(contract, rows.drop("letter").schema, "t")  # which may be null, and is not stored
    with pytest.raises(FlightlineError) as refused:
        check_columns(contract, rows.drop("height").schema, "t")
    assert str(refused.value) == (
        "t has no column 'height'; scoring looks up nothing in the online store; expected a column for each "
        "stored feature, null where it is missing. Add it: `python -m pipelines.build toy` computes all "
        "features of its data and leaves them in artifacts/toy/split."
    )


def test_of_many_absent_columns_some_are_named():
    """The others are counted: `flights` has dozens."""
    contract = models.load("flights").contract
    columns = {item.name: pl.Null() for item in contract.features if not item.stored}
    absent = [item.name for item in contract.stored]
    with pytest.raises(FlightlineError, match=f"'{absent[2]}' and {len(absent) - 3} more; scoring"):
        check_columns(contract, columns, "t")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"stric": [1.0]}, "no column 'strict', did you mean 'stric'"),
        ({"strict": ["1.0"]}, "column 'strict' of t is String; expected numbers"),
        ({"strict": [True]}, "column 'strict' of t is Boolean; expected numbers"),
        ({"strict": [1.0], "letter": [1]}, "column 'letter' of t is Int64; expected texts"),
    ],
)
def test_a_table_without_the_columns_is_refused_at_once(columns, sentence):
    """Before a row is read."""
    with pytest.raises(FlightlineError, match=sentence.replace("?", r"\?")):
        check_columns(CONTRACT, pl.DataFrame(columns).schema, "t")


def test_categoricals_are_texts():
    """A table may hold them as codes."""
    rows = pl.DataFrame({"strict": [1.0], "letter": ["A"], "low": [3]})
    rows = rows.with_columns(pl.col("letter").cast(pl.Categorical), pl.Series("known", ["B"], pl.Enum(["B"])))
    check_columns(CONTRACT, rows.schema, "t")
    assert check(CONTRACT, rows).categories.tolist() == [["A", "", "B"]]
