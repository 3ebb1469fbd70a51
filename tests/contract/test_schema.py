"""Contracts survive the journey through JSON, differ when they differ, and refuse contradictions."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ConfigError
from contract.schema import Aggregate, Contract, Feature, Lookup
from contract.strict import decode_json, encode_json
from tests.contract.strategies import contracts

pytestmark = pytest.mark.unit

NUMBER = Feature(name="length", kind="number", description="", minimum=1, maximum=2)
CATEGORY = Feature(name="colour", kind="category", description="", categories=("red",))
CONTRACT = Contract(
    model="toy", features=(NUMBER, CATEGORY), target="kind", classes=("a", "b"), scores="probability"
)

PAST = Aggregate("landings", ("carrier",), "mean", 60, "late")
LOOKUP = Lookup("planes", ("tailnum",), "seats")
OTHER_FEATURE = {
    "name": "width",
    "kind": "category",
    "description": "another",
    "source": "request",
    "unit": "cm",
    "minimum": 0.5,
    "maximum": 3.0,
    "categories": ("x",),
    "nullable": True,
    "out_of_range": "accept_and_count",
    "unknown_category": "refuse",
    "aggregate": PAST,
    "lookup": LOOKUP,
    "stale_after_minutes": 90,
}
OTHER_CONTRACT = {
    "model": "other",
    "features": (CATEGORY, NUMBER),
    "target": "sort",
    "classes": ("b", "a"),
    "scores": "decision",
    "lead_minutes": 60,
    "routes": ("/x",),
}
OTHER_AGGREGATE = {
    "events": "departures",
    "by": ("origin",),
    "statistic": "sum",
    "window_minutes": 61,
    "value": "delay",
}


def changed(fingerprint_of, original, values):
    """The fields of `original` whose change to the value in `values` leaves the fingerprint as it was."""
    assert set(values) == {field.name for field in msgspec.structs.fields(original)}
    before = fingerprint_of(original)
    return [
        name
        for name, value in values.items()
        if fingerprint_of(msgspec.structs.replace(original, **{name: value})) == before
    ]


@settings(max_examples=60, deadline=None)
@given(contracts())
def test_a_contract_survives_json(contract):
    """Decoding its canonical JSON gives an equal contract with an equal fingerprint."""
    again = decode_json(encode_json(contract), Contract, "contract.json")
    assert again == contract
    assert again.fingerprint == contract.fingerprint


@settings(max_examples=60, deadline=None)
@given(contracts(), contracts())
def test_two_contracts_share_a_fingerprint_only_when_they_are_equal(one, two):
    """The fingerprint stands for the whole declaration."""
    assert (one.fingerprint == two.fingerprint) == (one == two)


def test_every_field_of_a_contract_is_in_its_fingerprint():
    """Changing any one field changes the fingerprint."""
    assert changed(lambda contract: contract.fingerprint, CONTRACT, OTHER_CONTRACT) == []


def test_every_field_of_a_feature_is_in_the_fingerprint():
    """Changing any one field of one feature changes the contract's fingerprint."""
    plain = Feature(name="length", kind="number", description="", source="batch")

    def fingerprint_of(feature):
        return msgspec.structs.replace(CONTRACT, features=(feature,)).fingerprint

    # What a plain feature cannot have is asked of one that can.
    closed = {**OTHER_FEATURE, "categories": (), "stale_after_minutes": 0}
    assert changed(fingerprint_of, plain, closed) == ["categories", "stale_after_minutes"]
    stored = msgspec.structs.replace(plain, aggregate=PAST)
    assert fingerprint_of(msgspec.structs.replace(stored, stale_after_minutes=90)) != fingerprint_of(stored)
    wider = msgspec.structs.replace(CATEGORY, categories=("red", "blue"))
    assert fingerprint_of(wider) != fingerprint_of(CATEGORY)


def test_every_field_of_an_aggregate_is_in_the_fingerprint():
    """Another window, key, stream, value or statistic is another contract."""

    def fingerprint_of(aggregate):
        past = msgspec.structs.replace(NUMBER, source="batch", aggregate=aggregate)
        return msgspec.structs.replace(CONTRACT, features=(past,)).fingerprint

    assert changed(fingerprint_of, OTHER_FEATURE["aggregate"], OTHER_AGGREGATE) == []


def test_every_field_of_a_look_up_is_in_the_fingerprint():
    """Other records, another key or another value is another contract."""

    def fingerprint_of(lookup):
        found = msgspec.structs.replace(NUMBER, source="batch", lookup=lookup)
        return msgspec.structs.replace(CONTRACT, features=(found,)).fingerprint

    other = {"records": "ships", "by": ("name",), "value": "year"}
    assert changed(fingerprint_of, LOOKUP, other) == []


def test_a_contract_names_the_keys_that_are_no_features():
    """What a caller sends beside a row: the tail number, and not the carrier, which is a feature."""
    seats = Feature("seats", "number", "", source="batch", lookup=LOOKUP)
    rate = Feature("rate", "number", "", source="batch", aggregate=PAST)
    carrier = Feature("carrier", "category", "")
    found = msgspec.structs.replace(CONTRACT, features=(carrier, rate, seats))
    assert found.keys == ("tailnum",)
    assert found.stored == (rate, seats)
    assert (CONTRACT.keys, CONTRACT.stored) == ((), ())


def test_a_whole_bound_and_its_float_are_one_bound():
    """`0` in a declaration and `0.0` read back from JSON have one fingerprint."""
    whole = msgspec.structs.replace(CONTRACT, features=(Feature("x", "number", "", minimum=0, maximum=3),))
    exact = msgspec.structs.replace(
        CONTRACT, features=(Feature("x", "number", "", minimum=0.0, maximum=3.0),)
    )
    assert whole.fingerprint == exact.fingerprint


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"kind": "number", "minimum": 2, "maximum": 1}, "range [2.0, 1.0]"),
        ({"kind": "number", "minimum": math.nan, "maximum": 1}, "range [nan, 1.0]"),
        ({"kind": "category", "minimum": 1}, "a category with a numeric range"),
        ({"kind": "category", "maximum": 1}, "a category with a numeric range"),
        ({"kind": "number", "categories": ("a",)}, "a number with categories"),
        ({"kind": "number", "source": "stream"}, "a stream feature without an aggregate"),
        ({"kind": "number", "aggregate": PAST}, "an aggregate that the caller is to send"),
        ({"kind": "number", "lookup": LOOKUP}, "a look-up beside another origin"),
        (
            {"kind": "number", "source": "batch", "lookup": LOOKUP, "aggregate": PAST},
            "a look-up beside another origin",
        ),
        ({"kind": "number", "stale_after_minutes": 5}, "stale_after_minutes 5"),
        (
            {"kind": "number", "source": "batch", "lookup": LOOKUP, "stale_after_minutes": -1},
            "stale_after_minutes -1",
        ),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(declared, words):
    """The sentence names the feature and the contradiction."""
    with pytest.raises(ConfigError) as refused:
        Feature(name="length", description="", **declared)
    assert refused.value.found == f"feature 'length' has {words}"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"window_minutes": -1}, "has a window of -1 minutes"),
        ({"value": ""}, "is the mean of nothing"),
        ({"value": "", "statistic": "latest"}, "is the latest of nothing"),
    ],
)
def test_an_aggregate_that_cannot_be_computed_is_refused(declared, words):
    """A window that lies ahead would hold what is not known yet."""
    with pytest.raises(ConfigError) as refused:
        msgspec.structs.replace(PAST, **declared)
    assert refused.value.found == f"an aggregate of 'landings' {words}"


def test_only_a_window_of_no_minutes_has_no_end():
    """Zero stands for all since the first event."""
    ends = [msgspec.structs.replace(PAST, window_minutes=minutes).endless for minutes in (0, 1, 60)]
    assert ends == [True, False, False]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"features": (NUMBER, CATEGORY, NUMBER)}, "declares twice length"),
        ({"features": ()}, "declares no feature"),
        ({"classes": ("a",)}, "has classes ['a']"),
        ({"classes": ("a", "b", "a")}, "has classes ['a', 'b', 'a']"),
    ],
)
def test_a_contract_that_cannot_be_served_is_refused(declared, words):
    """No feature, one feature twice, or fewer than two different classes."""
    with pytest.raises(ConfigError) as refused:
        msgspec.structs.replace(CONTRACT, **declared)
    assert refused.value.found == f"contract 'toy' {words}"


def test_a_contradiction_is_refused_when_it_is_read_from_a_file_too():
    """The same check stands at the wire."""
    text = encode_json(CONTRACT).replace(b'"minimum": 1.0', b'"minimum": 9.0')
    with pytest.raises(ConfigError, match="range"):
        decode_json(text, Contract, "contract.json")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_feature_without_bounds_accepts_every_finite_number(value):
    """An absent bound does not limit."""
    assert Feature(name="x", kind="number", description="").in_range(value)


@pytest.mark.parametrize(("value", "inside"), [(1, True), (2, True), (0.999, False), (2.001, False)])
def test_bounds_belong_to_the_range(value, inside):
    """Both ends are allowed values."""
    assert NUMBER.in_range(value) is inside


def test_columns_keep_the_order_of_declaration():
    """Numbers and categories are two lists, each in the declared order."""
    mixed = msgspec.structs.replace(
        CONTRACT, features=(CATEGORY, NUMBER, Feature(name="width", kind="number", description=""))
    )
    assert [feature.name for feature in mixed.numbers] == ["length", "width"]
    assert [feature.name for feature in mixed.categories] == ["colour"]
