"""Plain values become typed ones, or one sentence that names the key and the likely meaning."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ConfigError
from contract.strict import convert, decode_json, encode_json, near_miss

pytestmark = pytest.mark.unit


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part."""

    patience: int
    rate: float = 0.1


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole."""

    name: str
    inner: Inner
    several: tuple[Inner, ...] = ()


GOOD = {"name": "x", "inner": {"patience": 3}}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({**GOOD, "nmae": 1}, "here: unknown key 'nmae', did you mean 'name'?"),
        ({**GOOD, "zzz": 1}, "here: unknown key 'zzz'"),
        (
            {**GOOD, "inner": {"patience": 3, "patiense": 4}},
            "here, inner: unknown key 'patiense', did you mean 'patience'?",
        ),
        ({"inner": {"patience": 3}}, "here: key 'name' is missing"),
        ({**GOOD, "inner": {}}, "here, inner: key 'patience' is missing"),
        ({**GOOD, "inner": {"patience": "3"}}, "here, inner.patience: Expected `int`, got `str`"),
        (
            {**GOOD, "several": [{"patience": 1}, {"patience": 1, "rate": "x"}]},
            "here, several[1].rate: Expected `float`, got `str`",
        ),
        ({**GOOD, "inner": None}, "here, inner: Expected `object`, got `null`"),
        ([], "here: Expected `object`, got `array`"),
    ],
)
def test_what_cannot_be_meant_is_named(value, found):
    """The sentence says where, what was found, and what was probably meant."""
    with pytest.raises(ConfigError) as refused:
        convert(value, Outer, "here")
    assert refused.value.found == found
    assert refused.value.remedy.endswith("here")
    with pytest.raises(ConfigError) as read:
        decode_json(msgspec.json.encode(value), Outer, "here")
    assert read.value.found == found


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "here: nan"),
        ({"a": {"rate": float("inf")}}, "here, a.rate: inf"),
        ({"a": [{"rate": 0.5}, {"rate": -float("inf")}]}, "here, a[1].rate: -inf"),
        ({"a": (0.5, float("nan"))}, "here, a[1]: nan"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_its_place(value, place):
    """YAML can write them, and a limit of NaN forbids nothing."""
    with pytest.raises(ConfigError) as refused:
        convert(value, object, "here")
    assert refused.value.found == f"{place} is not finite"
    assert refused.value.expected == "a finite number"
    convert(value, object, "here", finite=False)


@pytest.mark.parametrize("data", [b'{"patience": 1, "rate": NaN}', b'{"patience": 1, "rate": 1e999}'])
def test_json_has_no_number_that_is_not_finite(data):
    """Neither by name nor by size."""
    with pytest.raises(ConfigError):
        decode_json(data, Inner, "here")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"nothing", b'{"name": "\xff"}', b'{"name": "a", "inner": {"patience": 1}} tail']
)
def test_bytes_that_are_not_json_are_refused(data):
    """Broken text is one sentence that names the file."""
    with pytest.raises(ConfigError, match=r"^here is not JSON") as refused:
        decode_json(data, Outer, "here")
    assert "Restore here" in str(refused.value)


def test_a_refusal_reads_as_one_line():
    """Found, expected and remedy, joined."""
    text = str(ConfigError("two", "three", "Add one"))
    assert text == "two; expected three. Add one."


@pytest.mark.parametrize(
    ("word", "hint"), [("flihgts", ", did you mean 'flights'?"), ("boats", ""), ("", "")]
)
def test_a_near_miss_is_suggested_and_a_far_one_is_not(word, hint):
    """A wild guess would mislead."""
    assert near_miss(word, ["flights", "iris"]) == hint


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.randoms())
def test_equal_values_are_equal_bytes(value, random):
    """The order in which a mapping was filled is not part of the answer."""
    keys = list(value)
    random.shuffle(keys)
    assert encode_json({key: value[key] for key in keys}) == encode_json(value)
    assert decode_json(encode_json(value), object, "here") == value
