"""Each smoke check passes for an honest service and fails for one that is broken in its way."""

import json
from pathlib import Path

import httpx
import msgspec
import pytest

from contract.bundle import Bundle
from contract.errors import FlightlineError
from pipelines.delivery.smoke import Check, bad_inputs, require_passed, run_smoke
from pipelines.machine.environments import Smoke
from tests.pipelines.delivery.conftest import trained

pytestmark = pytest.mark.unit

LIMITS = Smoke(requests=5, p90_ms=1000)


class Service:
    """Answers as a server of `bundle` does, except where `broken` says otherwise."""

    def __init__(self, bundle: Bundle, broken: str = "") -> None:
        """Know the golden answers by their rows."""
        self.bundle, self.broken = bundle, broken
        self.golden = {json.dumps(item.row, sort_keys=True): item for item in bundle.golden.rows}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        path, contract = request.url.path, self.bundle.contract
        if path == "/readyz":
            return httpx.Response(503 if self.broken == "ready" else 200)
        if path == "/metrics":
            return httpx.Response(200, text="" if self.broken == "metrics" else "# TYPE requests counter\n")
        if path == "/models":
            fingerprint = "0" * 64 if self.broken == "contract" else contract.fingerprint
            return httpx.Response(200, json={contract.model: {"contract": fingerprint}})
        if path.endswith("/contract"):
            return httpx.Response(200, json={})
        if self.broken == "gone":
            raise httpx.ConnectError("refused", request=request)
        return self.predict(request)

    def predict(self, request: httpx.Request) -> httpx.Response:
        """Both prediction routes; whatever is no golden row is refused."""
        refusal = httpx.Response(422, json={"error": "no"})
        if self.broken == "accepts":
            refusal = httpx.Response(200, json={})
        if self.broken == "array":
            refusal = httpx.Response(415, json=["no"])
        try:
            body = msgspec.json.decode(request.content)
            rows = body["rows"] if request.url.path == "/predict_batch" else [body["row"]]
            found = [self.golden[json.dumps(row, sort_keys=True)] for row in rows]
        except (msgspec.DecodeError, TypeError, KeyError):
            return refusal
        if "json" not in request.headers["content-type"] or request.url.params["model"] != self.bundle.model:
            return refusal
        labels, scores = [item.label for item in found], [list(item.scores) for item in found]
        if self.broken == "label":
            labels[0] = next(name for name in self.bundle.contract.classes if name != labels[0])
        if self.broken == "score":
            scores[-1][0] += 0.01
        who = {"version": "1" if self.broken == "version" else "2", "digest": self.bundle.digest}
        if request.url.path == "/predict_batch":
            classes = self.bundle.contract.classes
            return httpx.Response(
                200, json={**who, "predictions": labels, "scores": scores, "classes": classes}
            )
        named = dict(zip(self.bundle.contract.classes, scores[0], strict=True))
        return httpx.Response(200, json={**who, "prediction": labels[0], "scores": named})


def failed(checks: tuple[Check, ...]) -> list[str]:
    """The names of the checks that did not pass."""
    return [check.name for check in checks if not check.passed]


def look(bundle: Bundle, broken: str, limits: Smoke = LIMITS) -> tuple[Check, ...]:
    """The suite against a service that is broken in one way."""
    return run_smoke("http://toy", bundle, "2", limits, httpx.MockTransport(Service(bundle, broken)))


def test_an_honest_service_passes(tmp_path: Path) -> None:
    """Every check sees what it should, and the sentence of a refusal is not raised."""
    checks = look(trained(tmp_path), "")
    assert failed(checks) == []
    require_passed(checks, "it")


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("ready", "ready"),
        ("version", "version"),
        ("contract", "contract"),
        ("label", "golden answers"),
        ("score", "golden answers"),
        ("accepts", "bad inputs refused"),
        ("array", "bad inputs refused"),
        ("metrics", "metrics"),
    ],
)
def test_a_broken_service_fails_the_check_that_is_meant_for_it(
    tmp_path: Path, broken: str, check: str
) -> None:
    """One fault, one failing check, and a sentence that names it."""
    checks = look(trained(tmp_path), broken)
    assert failed(checks) == [check]
    with pytest.raises(FlightlineError, match=rf"failed its smoke tests: {check} \("):
        require_passed(checks, "it")


def test_a_slow_service_fails(tmp_path: Path) -> None:
    """The limit is on p90."""
    assert failed(look(trained(tmp_path), "", Smoke(requests=5, p90_ms=0.0001))) == ["latency"]


def test_a_service_that_is_gone_fails_without_a_traceback(tmp_path: Path) -> None:
    """Each check says what it met."""
    checks = look(trained(tmp_path), "gone")
    assert {"version", "golden answers", "bad inputs refused", "latency"} == set(failed(checks))
    assert "ConnectError" in next(check.seen for check in checks if check.name == "latency")


def test_bad_inputs_are_many_and_different(tmp_path: Path) -> None:
    """At least ten kinds, no two alike."""
    cases = bad_inputs(trained(tmp_path))
    assert len({(body, kind) for _, body, kind in cases}) == len(cases) >= 10
