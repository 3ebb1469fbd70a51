"""Requests made up from what a document of stored features allows, and from what it does not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator

from tests.serving.http.bad_inputs.world import sale, stocked_contract

pytestmark = pytest.mark.unit

CASES = 300
EDGES = [sign * (2**63 - 1 + more) for sign in (1, -1) for more in (0, 1)]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(EDGES),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.sampled_from(["A", "B", "", "\0", "x" * 200, "x" * 201]),
    st.just([1]),
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "width": st.one_of(st.floats(0, 10), SCALARS),
        "height": st.one_of(st.floats(0, 10), SCALARS),
        "letter": st.one_of(st.sampled_from("ABC"), SCALARS),
    },
)
KEYS = st.one_of(st.none(), st.fixed_dictionaries({}, optional={"shelf": SCALARS}))
NOW = datetime.now(UTC).isoformat()


EVENTS = st.builds(
    sale,
    id=st.one_of(st.text(min_size=1, max_size=3), SCALARS),
    stream=st.one_of(st.just("sales"), SCALARS),
    at=st.one_of(st.just(NOW), st.datetimes().map(lambda at: f"{at.isoformat()}Z"), SCALARS),
    facts=st.one_of(
        st.fixed_dictionaries({}, optional={"letter": SCALARS, "pieces": SCALARS, "more": SCALARS}), SCALARS
    ),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, build_release, open_host):
    """A host whose model has a feature that may not be null, and is never missing in the store."""
    folder = tmp_path_factory.mktemp("generated")
    host = open_host(folder)
    host.serve(build_release(folder / "r", contract=stocked_contract()))
    assert host.client.post("/events", {"events": [sale()]}).status_code == 200
    yield host
    host.log.close()
    host.versions.close()
    host.completer.close()


def asked(host: Any, path: str, body: Any) -> tuple[int, bool]:
    """The status of the answer, which is as described, and whether the document allows the request."""
    document = host.client.get("/openapi.json").json()
    described = document["paths"][path]["post"]
    answer = host.client.post(path, body)
    content = described["responses"][str(answer.status_code)]["content"]["application/json"]
    OAS30Validator({**content["schema"], "components": document["components"]}).validate(answer.json())
    request = described["requestBody"]["content"]["application/json"]["schema"]
    return answer.status_code, OAS30Validator({**request, "components": document["components"]}).is_valid(
        body
    )


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(row=ROWS, keys=KEYS)
def test_exactly_what_the_document_allows_is_answered(shop, row, keys) -> None:
    """Of one row, also without what the store has, and of keys beside it."""
    status, allowed = asked(shop, "/predict", {"row": row, "keys": keys})
    assert status == (200 if allowed else 422)


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(st.lists(st.tuples(ROWS, KEYS), min_size=1, max_size=3))
def test_exactly_what_the_document_allows_is_answered_in_batches(shop, pairs) -> None:
    """Row by row."""
    rows, keys = ([pair[place] for pair in pairs] for place in (0, 1))
    status, allowed = asked(shop, "/predict_batch", {"rows": rows, "keys": keys})
    assert status == (200 if allowed else 422)


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(st.lists(EVENTS, min_size=1, max_size=2))
def test_an_event_is_taken_in_only_where_the_document_allows_it(shop, events) -> None:
    """And else refused: of facts and moments the document says less than a stream's features ask for."""
    status, allowed = asked(shop, "/events", {"events": events})
    assert status == 422 or (status == 200 and allowed)
