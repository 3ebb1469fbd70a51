"""Tensors against a contract: as fast as columns allow, as strict as /predict (S1)."""

import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from serving.http.bodies import BATCH_ROWS, RefusedError
from serving.protocol.columns import check, plain_rows
from serving.protocol.inputs import read_features, to_rows
from serving.protocol.tensors import Tensor, from_bytes, from_json, join_strings, split_strings
from serving.rows import Problem, Rows, RowsRefusedError, decode_rows

pytestmark = pytest.mark.unit

CONTRACT = Contract(
    model="toy",
    features=(
        Feature("letter", "category", "lenient", categories=("A", "B"), nullable=True),
        Feature("width", "number", "strict", minimum=0, maximum=10),
        Feature("height", "number", "lenient", minimum=-5, nullable=True, out_of_range="accept_and_count"),
        Feature("port", "category", "strict", categories=("X", "Y"), unknown_category="refuse"),
        Feature("free", "category", "anything"),
    ),
    target="kind",
    classes=("low", "high"),
    scores="probability",
)
# Exact in 32 bits, so that both ways compare the same number with the same bound.
NUMBER = st.sampled_from(
    [0.0, 10.0, 2.5, -0.5, 10.5, -5.0, -6.0, 2.0**100, float("nan"), float("inf"), -(2.0**120)]
)
WORD = st.sampled_from(["A", "B", "X", "Y", "", "?", "a\0b", "ü"])
ROWS = st.lists(st.tuples(NUMBER, NUMBER, WORD, WORD, WORD), min_size=1, max_size=4)


def outcome(judge: Any) -> tuple[Rows | None, tuple[Problem, ...]]:
    """The rows, or the problems with them."""
    try:
        return judge(), ()
    except RowsRefusedError as error:
        return None, error.problems


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ROWS)
def test_columns_are_judged_as_rows_are(rows) -> None:
    """Whatever is in the tensors: the same refusal, or the same arrays, values and counts."""
    numbers = np.array([row[:2] for row in rows], dtype=np.float32)
    words = [[row[column] for row in rows] for column in (2, 3, 4)]
    plain = [
        {
            "letter": letter or None,
            "width": None if np.isnan(width) else width,
            "height": None if np.isnan(height) else height,
            "port": port or None,
            "free": free or None,
        }
        for width, height, letter, port, free in rows
    ]
    wanted, refused = outcome(lambda: decode_rows(CONTRACT, plain))
    found, refused_too = outcome(lambda: check(CONTRACT, numbers, words))
    assert refused_too == refused
    if wanted is None:
        return
    np.testing.assert_array_equal(found.numbers, wanted.numbers)
    np.testing.assert_array_equal(found.categories, wanted.categories)
    names = [feature.name for feature in CONTRACT.features]
    assert [dict(zip(names, row, strict=True)) for row in found.values] == list(wanted.values)
    for name in ("out_of_range", "unknown_category", "missing"):
        assert getattr(found, name) == getattr(wanted, name)


def test_both_outcomes_occur() -> None:
    """The property above is about accepted rows too: these are some."""
    rows = check(CONTRACT, np.array([[1, -9]], dtype=np.float32), [["?"], ["X"], ["z"]])
    assert (dict(rows.out_of_range), dict(rows.unknown_category)) == ({"height": 1}, {"letter": 1})


@pytest.mark.parametrize("bound", [0.1, 1 / 3, 16777217.0])
def test_a_bound_that_32_bits_cannot_hold_admits_itself(bound) -> None:
    """FP32 carries the nearest number, and that is not out of range."""
    feature = Feature("x", "number", "", minimum=bound, maximum=bound)
    contract = Contract("m", (feature,), "t", ("a", "b"), "probability")
    assert check(contract, np.array([[bound]], dtype=np.float32), []).out_of_range == {}


@given(st.lists(st.text()))
def test_strings_survive_their_binary_form(words) -> None:
    """Whatever is text, empty strings and all."""
    assert split_strings("x", join_strings(words)) == words


@given(st.lists(st.text("AB\0", max_size=4), min_size=1))
def test_short_strings_survive_it_too(words) -> None:
    """The shorter way of short ones, and those that look like a part of a length."""
    assert split_strings("x", join_strings(words)) == words


@given(st.lists(st.sampled_from([b"\0", b"\1", b"\2", b"A", b"\0\0\0", b"\1\0\0\0A"]), max_size=12))
def test_whatever_the_bytes_are_they_are_read_in_one_way(parts) -> None:
    """Put together again, what was accepted is what came; all else is refused."""
    data = b"".join(parts)
    try:
        found = split_strings("x", data)
    except RefusedError:
        return
    assert join_strings(found) == data


@given(st.lists(st.floats(width=32), max_size=6))
def test_numbers_survive_their_binary_form(numbers) -> None:
    """To the bit, NaN included."""
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    tensor = from_bytes("x", "FP32", [len(numbers)], data)
    assert np.asarray(tensor.values).tobytes() == data


@pytest.mark.parametrize(
    "data", [b"\0", b"\5\0\0\0abc", b"\1\0\0\0a\1\0\0", b"\1\0\0\0\xff", b"\xff\xff\xff\xffabc"]
)
def test_bytes_that_are_no_strings_are_refused(data) -> None:
    """A length cut off, one that reaches beyond the end, and bytes that are no UTF-8."""
    with pytest.raises(RefusedError) as found:
        split_strings("x", data)
    assert found.value.status == 422


@pytest.mark.parametrize("text", ["[1, 2, 3, 4]", "[[1, 2], [3, 4]]", " [ [1,2],[3,4]]".strip()])
def test_an_array_may_be_flat_or_nested(text) -> None:
    """Both say the same, row by row."""
    tensor = from_json("x", "FP32", [2, 2], msgspec.Raw(text.encode()))
    assert np.asarray(tensor.values).tolist() == [1, 2, 3, 4]


def test_a_feature_may_be_a_tensor_of_its_own() -> None:
    """(rows,) or (rows, 1); what may be missing may be left out."""
    whole = np.array([1, 2], dtype=np.float32)
    given = read_features(
        CONTRACT,
        [
            Tensor("width", "FP32", (2,), whole),
            Tensor("port", "BYTES", (2, 1), ["X", "Y"]),
            Tensor("free", "BYTES", (2,), ["p", "q"]),
        ],
    )
    rows = to_rows(CONTRACT, given)
    assert rows.values[1] == (None, 2.0, None, "Y", "q")
    assert rows.missing == {"letter": 2, "height": 2}


def test_a_bound_that_32_bits_round_is_still_within() -> None:
    """0.1 is sent as 0.1 in 32 bits, which is more: by name and in columns it is the bound itself."""
    narrow = Feature("share", "number", "strict", minimum=0, maximum=0.1)
    contract = msgspec.structs.replace(CONTRACT, features=(narrow,))
    numbers = np.array([[0.1], [0.05]], dtype=np.float32)
    assert float(numbers[0, 0]) > 0.1
    assert check(contract, numbers, []).values[0] == (0.1,)
    rows = plain_rows(contract, numbers, [], ())
    assert decode_rows(contract, rows).values[0] == {"share": 0.1}
    with pytest.raises(RowsRefusedError):
        check(contract, np.array([[0.11]], dtype=np.float32), [])


def test_more_rows_than_a_batch_holds_are_refused() -> None:
    """The limit of /predict_batch is the limit here."""
    for count, refused in ((BATCH_ROWS, False), (BATCH_ROWS + 1, True)):
        tensors = [
            Tensor("numbers", "FP32", (count, 2), np.ones(2 * count, dtype=np.float32)),
            Tensor("categories", "BYTES", (count, 3), ["A", "X", "f"] * count),
        ]
        if refused:
            with pytest.raises(RefusedError, match="1 to 1000 rows"):
                read_features(CONTRACT, tensors)
        else:
            assert len(to_rows(CONTRACT, read_features(CONTRACT, tensors)).values) == count
