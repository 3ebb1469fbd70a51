"""Each smoke check passes for the real application and fails for one whose answers were spoilt in its way."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines.delivery.smoke import run_smoke
from pipelines.machine.environments import Smoke
from pipelines.staging.checks import Check, require_passed
from tests.pipelines.staging.conftest import Service, changed

pytestmark = pytest.mark.unit

LIMITS = Smoke(requests=5, p90_ms=5000)


def look(service: Service, limits: Smoke = LIMITS) -> tuple[Check, ...]:
    """The suite against `service`."""
    return run_smoke("http://toy", service.bundle, service.version, limits, service)


def failed(checks: tuple[Check, ...]) -> list[str]:
    """The names of the checks that did not pass."""
    return [check.name for check in checks if not check.passed]


def spoiling(path: str, change: Callable[[Any], object]) -> Callable[..., httpx.Response]:
    """Change the JSON of what a path answers with 200."""

    def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        hit = (request.url.path, response.status_code) == (path, 200)
        return changed(response, change) if hit else response

    return spoil


def instead(path: str, response: httpx.Response, status: int = 200) -> Callable[..., httpx.Response]:
    """Another answer than the one with `status` of a path."""

    def spoil(request: httpx.Request, found: httpx.Response) -> httpx.Response:
        hit = (request.url.path, found.status_code) == (path, status)
        return (
            httpx.Response(response.status_code, content=response.content, request=request) if hit else found
        )

    return spoil


def test_an_honest_service_passes(service: Service) -> None:
    """Every check sees what it should, and the sentence of a refusal is not raised."""
    checks = look(service)
    assert failed(checks) == []
    require_passed(checks, "it")


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        ("ready", instead("/readyz", httpx.Response(503))),
        ("version", spoiling("/predict", lambda body: body.update(version="2"))),
        ("version", spoiling("/predict", lambda body: body.update(digest="f" * 64))),
        ("contract", spoiling("/models", lambda body: body["models"]["toy"].update(contract="0" * 64))),
        ("golden answers", spoiling("/predict_batch", lambda body: body["predictions"].reverse())),
        ("golden answers", spoiling("/predict_batch", lambda body: body["scores"][-1].__setitem__(0, 0.01))),
        ("golden answers", spoiling("/predict_batch", lambda body: body["classes"].reverse())),
        ("golden answers", spoiling("/predict", lambda body: body["scores"].update(low=0.01))),
        ("bad inputs refused", instead("/predict", httpx.Response(200, json={}), 422)),
        ("bad inputs refused", instead("/predict", httpx.Response(415, json=["no"]), 415)),
        ("metrics", instead("/metrics", httpx.Response(200, text=""))),
    ],
)
def test_a_spoilt_service_fails_the_check_that_is_meant_for_it(
    service: Service, check: str, spoil: Callable[..., httpx.Response]
) -> None:
    """One fault, one failing check, and a sentence that names it."""
    service.spoil = spoil
    checks = look(service)
    assert failed(checks) == [check]
    with pytest.raises(FlightlineError, match=rf"^it failed its smoke tests: {check} \("):
        require_passed(checks, "it")


def test_a_slow_service_fails(service: Service) -> None:
    """The limit is on p90."""
    assert failed(look(service, Smoke(requests=5, p90_ms=0.0001))) == ["latency"]


def test_a_service_that_is_gone_fails_without_a_traceback(service: Service) -> None:
    """Each check says what it met."""

    def gone(request: httpx.Request, _: httpx.Response) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    service.spoil = gone
    checks = look(service)
    assert len(failed(checks)) == len(checks)
    assert all("ConnectError" in check.seen for check in checks)


def test_a_refusal_of_the_suite_speaks_of_the_suite() -> None:
    """What failed is named, with what was seen, and what passed is not."""
    checks = (Check("ready", passed=True, seen="200"), Check("load", passed=False, seen="3 of 9 failed"))
    with pytest.raises(FlightlineError, match=r"^it failed its staging suite: load \(3 of 9 failed\)"):
        require_passed(checks, "it", "staging suite")
