"""Requests made up from the service's own OpenAPI document find no defect in it (M9, S1).

Schemathesis runs in its own locked environment and process. Which checks it makes, and which it cannot, is in
`tests/clients/schemathesis/schemathesis.toml`.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from contract.schema import Contract
from tests.conftest import toy_contract
from tests.serving.http.bad_inputs.world import sale, stocked_contract
from tests.serving.locked import locked
from tests.serving.real import PYTHON, ROOT, running

pytestmark = pytest.mark.lengthy

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; nothing is generated", allow_module_level=True)

PROJECT = ROOT / "tests/clients/schemathesis"
CASES = 10_000
# Of each operation; about twelve of them have many to generate, the others a case or two.
FEW, STORED, MANY = 60, 300, 950
MOST_FAILURES = "5"  # then it ends: where everything fails it would look for a smallest case for ever
STARTS = "import sys; from serving.__main__ import main; sys.exit(main())"
# Each is a way in which service and document may part, and the name of the failure that must be reported.
_RANGE = """
import serving.http.schemas as o; f = o.feature_of
o.feature_of = lambda feature: {**f(feature), **({'maximum': 99} if feature.name == 'width' else {})}
"""
_REQUIRED = """
import serving.http.openapi as o; f = o._parameter
o._parameter = lambda *known: {**f(*known), 'required': True}
"""
_STATUS = """
import serving.http.openapi as o; f = o._responses
o._responses = lambda *codes: {code: v for code, v in f(*codes).items() if code != '422'}
"""
DEFECTS = {
    "a route that fails": ("import serving.http.app as a; a.decode_rows = None", "ServerError"),
    "a range wider than the contract's": (_RANGE, "RejectedPositiveData"),
    "a demand that the service does not make": (_REQUIRED, "AcceptedNegativeData"),
    "an answer without a field": (
        "import serving.http.openapi_answers as o; o._IDENTITY['trace'] = {'type': 'string'}",
        "JsonSchemaError",
    ),
    "a status that is not documented": (_STATUS, "UndefinedStatusCode"),
}


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """The command, in an environment made from its lock file."""
    return locked("schemathesis") / "bin" / "schemathesis"


@pytest.fixture
def generate(schemathesis, tmp_path, build_release) -> Callable[..., dict[str, Any]]:
    """Run it against a service, with `code` executed in that service before it starts; its report."""

    def run(
        examples: int, code: str = "", contract: Contract | None = None, events: Sequence[Any] = ()
    ) -> dict[str, Any]:
        contract = contract or toy_contract("toy", routes=("/predict/label",))
        release = build_release(tmp_path / "r", contract=contract)
        command = ("-c", f"{code}\n{STARTS}") if code else ("-m", "serving")
        with running(tmp_path, [release], command=command) as real:
            if events:
                assert real.client.post("/events", json={"events": list(events)}).status_code == 200
            report = tmp_path / "report.json"
            done = subprocess.run(
                [
                    *(schemathesis, "--config-file", PROJECT / "schemathesis.toml", "run"),
                    *(f"http://127.0.0.1:{real.port}/openapi.json", "--max-examples", str(examples)),
                    *("--phases", "examples,coverage,fuzzing", "--no-color", "--max-failures", MOST_FAILURES),
                    *("--seed", "1"),  # what landed once must not fail for another draw tomorrow
                    *("--no-shrink", "--report", "json", "--report-json-path", report),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=1_500,
                check=False,
            )
            assert report.exists(), done.stdout + done.stderr
            assert "Traceback" not in real.output or code
            return {"said": done.stdout, **json.loads(report.read_bytes())}

    return run


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_ten_thousand_generated_requests_find_no_defect(generate) -> None:
    """No 5xx, no answer that the document does not allow, nothing accepted that it forbids."""
    report = generate(MANY)
    assert report["failures"] == [], report["said"]
    assert report["operations"]["tested"] == report["operations"]["total"] >= 8
    assert report["test_cases"]["generated"] >= CASES
    assert report["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_generated_requests_find_no_defect_where_the_store_completes_rows(generate) -> None:
    """The same of a contract with stored features, and so with `/events` and `keys`."""
    report = generate(STORED, contract=stocked_contract(), events=[sale()])
    assert report["failures"] == [], report["said"]
    assert report["operations"]["tested"] == report["operations"]["total"] >= 9
    assert report["test_cases"]["generated"] >= STORED
    assert report["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_would_be_found(generate, defect) -> None:
    """The same run with a service that is broken in one way reports that way."""
    code, failure = DEFECTS[defect]
    report = generate(FEW, code)
    assert failure in {found["type"] for found in report["failures"]}, report["said"]
    assert report["exit_code"] != 0
