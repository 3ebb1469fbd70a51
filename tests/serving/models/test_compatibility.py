"""A contract is older than another where it refuses what callers of the other may send."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from serving.models.compatibility import narrower
from serving.rows import RowsRefusedError, decode_rows

pytestmark = pytest.mark.unit

NUMBER = Feature(name="n", kind="number", description="", minimum=0, maximum=10)
WORD = Feature(name="w", kind="category", description="", categories=("A", "B"), unknown_category="refuse")


def contract(*features: Feature, routes: tuple[str, ...] = ()) -> Contract:
    """A contract of these features."""
    classes = ("no", "yes")
    return Contract(
        model="toy", features=features, target="t", classes=classes, scores="probability", routes=routes
    )


def change(feature: Feature, **changes: object) -> Feature:
    """`feature` with other attributes."""
    return msgspec.structs.replace(feature, **changes)


SERVED = contract(NUMBER, WORD, routes=("/predict/label",))


@pytest.mark.parametrize(
    ("features", "words"),
    [
        pytest.param((NUMBER,), "lacks 'w'", id="lacks"),
        pytest.param((change(NUMBER, maximum=9.5), WORD), "refuses 'n' above 9.5", id="maximum"),
        pytest.param((change(NUMBER, minimum=1), WORD), "refuses 'n' below 1", id="minimum"),
        pytest.param((NUMBER, change(WORD, categories=("A",))), "refuses 'B' as 'w'", id="category"),
        pytest.param((NUMBER, Feature(name="w", kind="number", description="")), "as a number", id="kind"),
        pytest.param((NUMBER, WORD, change(NUMBER, name="x")), "requires 'x'", id="required"),
        pytest.param((WORD, NUMBER), "in another order", id="order-of-a-claimed-route"),
    ],
)
def test_what_is_narrower_is_named(features, words) -> None:
    """One sentence's end for each way in which a contract can be the older one."""
    assert words in narrower(contract(*features, routes=SERVED.routes), SERVED)


def test_a_lost_route_is_narrower() -> None:
    """Its callers would get a 404."""
    assert narrower(contract(NUMBER, WORD), SERVED) == "no longer claims /predict/label"


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        pytest.param({}, {"nullable": True}, "where it is null", id="null"),
        pytest.param({}, {"out_of_range": "accept_and_count"}, "below 0", id="open-range"),
        pytest.param({}, {"minimum": None}, "below 0", id="no-minimum"),
        pytest.param({"nullable": True}, {}, "", id="null-allowed"),
        pytest.param({"out_of_range": "accept_and_count"}, {}, "", id="range-opened"),
        pytest.param({"minimum": -1, "maximum": None}, {}, "", id="wider-range"),
    ],
)
def test_rules_of_numbers(new, old, words) -> None:
    """A rule that lets less in than before is narrower; one that lets more in is not."""
    found = narrower(contract(change(NUMBER, **new)), contract(change(NUMBER, **old)))
    assert (words in found) if words else not found


def test_refusing_unknown_words_is_narrower() -> None:
    """Callers may have sent any."""
    before = contract(NUMBER, change(WORD, unknown_category="accept_and_count"))
    assert "refuses unknown values of 'w'" in narrower(contract(NUMBER, WORD), before)
    assert narrower(before, contract(NUMBER, WORD)) == ""


def test_a_new_feature_that_nobody_must_send_is_not_narrower() -> None:
    """What may be null, and what the store knows, is no burden of a caller's."""
    optional = change(NUMBER, name="x", nullable=True)
    known = change(NUMBER, name="y", source="batch")
    assert narrower(contract(NUMBER, WORD, optional, known), contract(NUMBER, WORD)) == ""


@st.composite
def features(draw, name: str) -> Feature:
    """Numbers and words with all rules."""
    rules = st.sampled_from(["refuse", "accept_and_count"])
    nullable = draw(st.booleans())
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3))))
        return Feature(
            name=name,
            kind="number",
            description="",
            nullable=nullable,
            minimum=draw(st.sampled_from([None, low])),
            maximum=draw(st.sampled_from([None, high])),
            out_of_range=draw(rules),
        )
    words = draw(st.lists(st.sampled_from("ABC"), unique=True))
    return Feature(
        name=name,
        kind="category",
        description="",
        nullable=nullable,
        categories=tuple(words),
        unknown_category=draw(rules),
    )


VALUES = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from(["A", "B", "C", "D"]))
CONTRACTS = st.builds(contract, features("n"), features("w"))


@given(CONTRACTS, CONTRACTS, VALUES, VALUES)
def test_what_is_not_narrower_refuses_nothing_that_was_accepted(new, old, number, word) -> None:
    """The promise itself: a row that the served contract accepts, a contract that is not older accepts."""
    row = {"n": number, "w": word}
    try:
        decode_rows(old, [row])
    except RowsRefusedError:
        return
    if not narrower(new, old):
        decode_rows(new, [row])
