"""Rows are taken exactly as the contract says, or refused with the reason."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from contract.strict import near_miss
from serving import rows as rows_module
from serving.rows import MOST_HINTS, MOST_PROBLEMS, NAME_LENGTH, RowsRefusedError, decode_rows

pytestmark = pytest.mark.unit

CONTRACT = Contract(
    model="m",
    features=(
        Feature(name="strict", kind="number", description="d", minimum=0, maximum=10),
        Feature(name="word", kind="category", description="d", categories=("A", "B"), nullable=True),
        Feature(
            name="lenient",
            kind="number",
            description="d",
            maximum=1,
            nullable=True,
            out_of_range="accept_and_count",
        ),
        Feature(
            name="closed", kind="category", description="d", categories=("x", "y"), unknown_category="refuse"
        ),
    ),
    target="t",
    classes=("a", "b"),
    scores="probability",
)
GOOD = {"strict": 1, "word": "A", "lenient": 0.5, "closed": "x"}


def refused(row):
    """The problems of one row that must be refused."""
    with pytest.raises(RowsRefusedError) as caught:
        decode_rows(CONTRACT, [row], "row")
    return caught.value.problems


def test_columns_follow_the_declaration() -> None:
    """Numbers and categories each keep the order in which the contract declares them."""
    rows = decode_rows(CONTRACT, [dict(reversed(GOOD.items()))])
    assert rows.numbers.tolist() == [[1.0, 0.5]]
    assert rows.numbers.dtype == np.float32
    assert rows.categories is not None
    assert rows.categories.tolist() == [["A", "x"]]


def test_missing_values_become_what_the_graph_expects() -> None:
    """A missing number is NaN and a missing category the empty string; both are counted."""
    rows = decode_rows(CONTRACT, [{"strict": 1, "closed": "x"}])
    assert math.isnan(rows.numbers[0, 1])
    assert rows.categories is not None
    assert rows.categories[0, 0] == ""
    assert rows.missing == {"word": 1, "lenient": 1}
    assert rows.values[0]["word"] is None


def test_accepted_values_outside_the_declaration_are_counted() -> None:
    """`accept_and_count` lets a value through to the model, and counts it by feature."""
    rows = decode_rows(CONTRACT, [GOOD | {"lenient": 7}, GOOD | {"lenient": 8, "word": "Z"}])
    assert rows.out_of_range == {"lenient": 2}
    assert rows.unknown_category == {"word": 1}
    assert rows.numbers[:, 1].tolist() == [7.0, 8.0]


@pytest.mark.parametrize(
    ("change", "field", "found", "expected"),
    [
        pytest.param(
            {"strict": "1"}, "row.strict", "the string '1'", "a number, at least 0.0", id="string-number"
        ),
        pytest.param({"strict": True}, "row.strict", "a boolean", "a number", id="boolean-number"),
        pytest.param({"strict": None}, "row.strict", "null", "a number", id="null-not-nullable"),
        pytest.param({"strict": []}, "row.strict", "an array", "a number", id="array-number"),
        pytest.param({"strict": math.nan}, "row.strict", "nan", "a finite number", id="nan"),
        pytest.param({"strict": math.inf}, "row.strict", "inf", "a finite number", id="infinity"),
        pytest.param({"lenient": 1e39}, "row.lenient", "1e+39", "fits in 32 bits", id="beyond-float32"),
        pytest.param(
            {"lenient": 10**400}, "row.lenient", "a huge number", "fits in 32 bits", id="huge-integer"
        ),
        pytest.param({"strict": -1}, "row.strict", "-1", "at least 0.0 and at most 10.0", id="below"),
        pytest.param({"strict": 10.001}, "row.strict", "10.001", "at most 10.0", id="above"),
        pytest.param({"word": 3}, "row.word", "3", "a string or null", id="number-category"),
        pytest.param({"word": ""}, "row.word", "an empty string", "a string or null", id="empty-category"),
        pytest.param({"word": "A\0"}, "row.word", "a NUL character", "a string", id="nul-category"),
        pytest.param({"closed": "X"}, "row.closed", "'X'", "one of x, y", id="closed-category"),
        pytest.param(
            {"wrod": "A"}, "row.wrod", "did you mean 'word'?", "only declared", id="unknown-feature"
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_reason(change, field, found, expected) -> None:
    """A problem names the field, what was found and what was expected."""
    (problem,) = refused(GOOD | change)
    assert problem.field == field
    assert found in problem.found
    assert expected in problem.expected


def test_an_absent_required_value_is_refused() -> None:
    """A feature that is not nullable must be sent."""
    (problem,) = refused({key: value for key, value in GOOD.items() if key != "strict"})
    assert (problem.field, problem.found) == ("row.strict", "nothing")


def test_every_problem_of_a_row_is_reported_at_once() -> None:
    """A caller learns all that is wrong in one go."""
    assert {problem.field for problem in refused({"strict": "1", "word": 1, "closed": "x"})} == {
        "row.strict",
        "row.word",
    }


def test_a_batch_names_the_row_and_stops_after_many_problems() -> None:
    """Problems of a batch carry the row's index, and are limited in number."""
    with pytest.raises(RowsRefusedError) as caught:
        decode_rows(CONTRACT, [GOOD, 5, *({} for _ in range(1_000))])
    assert caught.value.problems[0].field == "rows[1]"
    assert len(caught.value.problems) == MOST_PROBLEMS


@pytest.fixture
def searches(monkeypatch):
    """The words for which a near miss was searched."""
    words = []

    def spy(word, known):
        words.append(word)
        return near_miss(word, known)

    monkeypatch.setattr(rows_module, "near_miss", spy)
    return words


def test_a_flood_of_unknown_names_costs_a_few_searches(searches) -> None:
    """45,000 unknown names are fifty problems and three searches, not 45,000 of each."""
    problems = refused({"wrod": 1} | {f"wrod{index:05d}": 1 for index in range(45_000)})
    assert len(problems) == MOST_PROBLEMS
    assert len(searches) == MOST_HINTS
    assert "did you mean 'word'?" in problems[0].found


def test_a_flood_of_unknown_categories_costs_a_few_searches(searches) -> None:
    """Neither do many rows with a wrong category each."""
    with pytest.raises(RowsRefusedError) as caught:
        decode_rows(CONTRACT, [GOOD | {"closed": "z"}] * 1_000)
    assert (len(caught.value.problems), len(searches)) == (MOST_PROBLEMS, MOST_HINTS)


@pytest.mark.parametrize("row", [{"x" * 1_000_000: 1}, GOOD | {"closed": "x" * 1_000_000}])
def test_a_huge_word_is_cut_before_it_is_searched(searches, row) -> None:
    """Searching a near miss of a megabyte would take as long as a thousand predictions."""
    problems = refused(row)
    assert [len(word) for word in searches] == [NAME_LENGTH]
    assert all(len(problem.field) + len(problem.found) < 300 for problem in problems)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), json_values))
def test_whatever_is_sent_is_accepted_whole_or_refused_with_reasons(row) -> None:
    """No input makes decoding fail in another way, and nothing non-finite or mistyped gets through."""
    try:
        rows = decode_rows(CONTRACT, [row])
    except RowsRefusedError:
        return
    assert rows.numbers.shape == (1, 2)
    assert np.isfinite(rows.numbers[~np.isnan(rows.numbers)]).all()
    assert math.isnan(rows.numbers[0, 1]) == (row.get("lenient") is None)
    assert not isinstance(row["strict"], bool)
    assert 0 <= rows.numbers[0, 0] <= 10
    assert rows.values[0]["closed"] in {"x", "y"}


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=20))
def test_numbers_arrive_unchanged(values) -> None:
    """A number that 32 bits can hold reaches the graph as it was sent."""
    rows = decode_rows(CONTRACT, [GOOD | {"strict": value} for value in values])
    assert rows.numbers[:, 0].tolist() == values
