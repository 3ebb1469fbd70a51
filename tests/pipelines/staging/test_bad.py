"""What must be refused follows from the contract, and a service that lets one of it through is found out."""

import json

import httpx
import pytest

from contract.schema import Contract
from pipelines.delivery.smoke import run_smoke
from pipelines.machine.environments import Smoke
from pipelines.staging.bad import Bad, _rows, bad_inputs, unrefused
from serving.rows import RowsRefusedError, decode_rows
from tests.pipelines.staging.conftest import Service
from training import model as models

pytestmark = pytest.mark.unit


def good_row(contract: Contract) -> dict[str, object]:
    """A row that the contract accepts."""
    return {
        feature.name: (feature.minimum if feature.minimum is not None else 1.0)
        if feature.kind == "number"
        else (feature.categories or ("A",))[0]
        for feature in contract.features
    }


@pytest.mark.parametrize("name", models.names())
def test_every_bad_row_is_bad_to_the_decoder_of_the_service(name: str) -> None:
    """And what it was made from is good: it is the one change that is refused."""
    contract = models.load(name).contract
    good = good_row(contract)
    decode_rows(contract, [good], "row")
    cases = [case for case in _rows(contract, good) if case.field]
    for case in cases:
        with pytest.raises(RowsRefusedError) as refusal:
            decode_rows(contract, [json.loads(case.content)["row"]], "row")
        assert [problem.field for problem in refusal.value.problems] == [case.field], case.name
    assert {case.field for case in cases} == {f"row.{feature.name}" for feature in contract.features}


def test_bad_inputs_are_many_and_different(service: Service) -> None:
    """No two requests alike, no two names alike; each rule of the toy's contract is broken."""
    cases = bad_inputs(service.bundle)
    assert (
        len({(str(case.request)) for case in cases}) == len({case.name for case in cases}) == len(cases) > 40
    )
    names = {case.name for case in cases}
    assert {"less than the minimum as width", "more than the maximum as width", "width is missing"} <= names
    assert "less than the minimum as height" not in names  # accepted and counted
    assert "null as height" not in names  # may be missing


def test_an_honest_service_refuses_every_one_and_says_where(service: Service) -> None:
    """The real application, each case for itself."""
    with service.client as client:
        for case in bad_inputs(service.bundle):
            assert unrefused(case, client.request(**case.request)) == "", case.name


@pytest.mark.parametrize("name", ["NaN as width", "width is missing", "wrong method", "one bad row of two"])
def test_a_service_that_answers_one_of_them_is_found_out(service: Service, name: str) -> None:
    """Whichever it is, the check names it, and no other check fails."""
    (case,) = [case for case in bad_inputs(service.bundle) if case.name == name]

    def lets_through(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        same = (request.method, request.url.path, request.content) == (case.method, case.path, case.content)
        return httpx.Response(200, json={}) if same else response

    service.spoil = lets_through
    checks = run_smoke("http://toy", service.bundle, "1", Smoke(requests=2, p90_ms=5000), service)
    assert {item.name: item.seen for item in checks if not item.passed} == {
        "bad inputs refused": f"not refused with an explanation: {name}: 200"
    }


@pytest.mark.parametrize(
    ("response", "seen"),
    [
        (httpx.Response(500, json={"error": "no", "problems": []}), "500"),
        (httpx.Response(422, json=["no"]), "422"),
        (httpx.Response(422, text="no"), "422"),
        (httpx.Response(422, json={"error": "no", "problems": [{"field": "row.other"}]}), "names row.other"),
        (httpx.Response(422, json={"error": "no", "problems": []}), "names nothing"),
        (httpx.Response(422, json={"error": "no", "problems": [{"field": "row.width"}]}), ""),
    ],
)
def test_a_refusal_says_where_to_look(response: httpx.Response, seen: str) -> None:
    """4xx alone is not enough, and neither is an explanation of something else."""
    found = unrefused(Bad("true as width", b"", "row.width"), response)
    assert seen in found if seen else found == ""
