"""The suite that a deployed version passes over HTTP before anything else may trust it."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from contract.bundle import Bundle, GoldenRow
from contract.errors import FlightlineError
from contract.schema import Contract
from pipelines.machine.environments import Smoke

ENTITY = "smoke"  # entity id of every smoke request, so that a monitor can leave them out
BATCH = 200  # golden rows a request
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    passed: bool
    seen: str


def run_smoke(
    url: str, bundle: Bundle, version: str, limits: Smoke, transport: httpx.BaseTransport | None = None
) -> tuple[Check, ...]:
    """Every check against the service at `url`, which should serve `version` of the model in `bundle`."""
    with httpx.Client(base_url=url, timeout=10.0, trust_env=False, transport=transport) as client:
        suite: list[tuple[str, Callable[[], str]]] = [
            ("ready", lambda: _ready(client)),
            ("version", lambda: _version(client, bundle, version)),
            ("contract", lambda: _contract(client, bundle.contract)),
            ("golden answers", lambda: _golden(client, bundle)),
            ("bad inputs refused", lambda: _bad_inputs(client, bundle)),
            ("latency", lambda: _latency(client, bundle, limits)),
            ("metrics", lambda: _metrics(client)),
        ]
        return tuple(_checked(name, look) for name, look in suite)


def golden_by_name(client: httpx.Client, bundle: Bundle, version: str) -> Check:
    """Whether `version`, asked by name while it answers nobody else, gives the bundle's golden answers."""
    return _checked("golden answers", lambda: _golden(client, bundle, version))


def require_passed(checks: Sequence[Check], what: str) -> None:
    """Nothing, if every check passed.

    Raises:
        FlightlineError: some did not; the sentence names them with what was seen.
    """
    failed = [f"{check.name} ({check.seen})" for check in checks if not check.passed]
    if failed:
        raise FlightlineError(
            f"{what} failed its smoke tests: {'; '.join(failed)}", "every check to pass", "Correct the model"
        )


class _Found(Exception):  # noqa: N818 - what was seen, on its way to a Check
    """A check did not see what it should."""


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, passed=True, seen=look())
    except _Found as found:
        return Check(name, passed=False, seen=str(found))
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return Check(name, passed=False, seen=f"{type(error).__name__}: {error}")


def _ready(client: httpx.Client) -> str:
    _expect(client.get("/readyz"), 200)
    return "200 from /readyz"


def _version(client: httpx.Client, bundle: Bundle, version: str) -> str:
    body = _answer(_predict(client, bundle, bundle.golden.rows[0]))
    found, expected = (body["version"], body["digest"]), (version, bundle.digest)
    if found != expected:
        raise _Found(f"version {found[0]} ({found[1][:12]}) answered, not {version} ({bundle.digest[:12]})")
    return f"version {version} ({bundle.digest[:12]}) answers"


def _contract(client: httpx.Client, contract: Contract) -> str:
    found = _answer(client.get("/models"))
    text = json.dumps(found)
    if contract.fingerprint not in text:
        raise _Found(f"no model with contract {contract.fingerprint[:12]} is served")
    _expect(client.get(f"/models/{contract.model}/contract"), 200)
    return f"contract {contract.fingerprint[:12]}"


def _golden(client: httpx.Client, bundle: Bundle, version: str | None = None) -> str:
    worst = 0.0
    named = {"model": bundle.model} | ({"version": version} if version else {})
    rows = bundle.golden.rows
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        body = _answer(
            client.post(
                "/predict_batch",
                params=named,
                json={"rows": [item.row for item in part], "ids": [ENTITY] * len(part)},
            )
        )
        if tuple(body["classes"]) != bundle.contract.classes:
            raise _Found(f"classes {body['classes']}")
        for number, (item, label, scores) in enumerate(
            zip(part, body["predictions"], body["scores"], strict=True), start=start
        ):
            worst = max(worst, _difference(item, label, scores, bundle, number))
    one = _answer(client.post("/predict", params=named, json={"row": rows[0].row, "id": ENTITY}))
    single = [one["scores"][name] for name in bundle.contract.classes]
    _difference(rows[0], one["prediction"], single, bundle, 0)
    return f"{len(rows)} rows, scores within {worst:.2g}"


def _difference(item: GoldenRow, label: str, scores: Sequence[float], bundle: Bundle, number: int) -> float:
    if label != item.label:
        raise _Found(f"golden row {number} is answered '{label}', not '{item.label}'")
    worst = max(abs(found - expected) for found, expected in zip(scores, item.scores, strict=True))
    if not math.isfinite(worst) or worst > bundle.golden.tolerance:
        raise _Found(f"golden row {number} differs by {worst:.3g}, tolerance {bundle.golden.tolerance:.3g}")
    return worst


def _bad_inputs(client: httpx.Client, bundle: Bundle) -> str:
    wrong: list[str] = []
    cases = bad_inputs(bundle)
    for name, body, content_type in cases:
        answer = client.post(
            "/predict",
            params={"model": bundle.model},
            content=body,
            headers={"content-type": content_type},
        )
        if not refused(answer):
            wrong.append(f"{name}: {answer.status_code}")
    for name, answer in (
        ("unknown model", client.post("/predict", params={"model": "no-such"}, content=b"{}", headers=JSON)),
        ("wrong method", client.get("/predict")),
    ):
        if not refused(answer):
            wrong.append(f"{name}: {answer.status_code}")
    if wrong:
        raise _Found("not refused with an explanation: " + ", ".join(wrong))
    return f"{len(cases) + 2} kinds refused"


def bad_inputs(bundle: Bundle) -> list[tuple[str, bytes, str]]:
    """Requests that must not be answered: name, body, content type."""
    row = dict(bundle.golden.rows[0].row)
    feature = bundle.contract.features[0].name

    def with_value(literal: str) -> bytes:
        others = "".join(f", {json.dumps(key)}: {json.dumps(row[key])}" for key in row if key != feature)
        return f'{{"row": {{{json.dumps(feature)}: {literal}{others}}}}}'.encode()

    rest = {key: value for key, value in row.items() if key != feature}
    cases: list[tuple[str, bytes, str]] = [
        ("not JSON", b'{"row": ', JSON["content-type"]),
        ("empty body", b"", JSON["content-type"]),
        ("an array", b"[]", JSON["content-type"]),
        ("no row", b"{}", JSON["content-type"]),
        ("plain text", json.dumps({"row": row}).encode(), "text/plain"),
        ("unknown feature", json.dumps({"row": {**row, "no such": 1}}).encode(), JSON["content-type"]),
        ("true as a value", with_value("true"), JSON["content-type"]),
        ("an array as a value", with_value("[1]"), JSON["content-type"]),
        ("NaN", with_value("NaN"), JSON["content-type"]),
        ("a huge number", with_value("1e999"), JSON["content-type"]),
    ]
    if not bundle.contract.features[0].nullable:
        cases.append(("missing feature", json.dumps({"row": rest}).encode(), JSON["content-type"]))
        cases.append(("null", with_value("null"), JSON["content-type"]))
    return cases


def refused(answer: httpx.Response) -> bool:
    """Whether a service refused with 4xx and an object that says why."""
    if not 400 <= answer.status_code < 500:  # noqa: PLR2004 - the caller's mistake
        return False
    try:
        return isinstance(answer.json(), dict)
    except ValueError:
        return False


def _latency(client: httpx.Client, bundle: Bundle, limits: Smoke) -> str:
    """Requests one after another over one connection, the first few unmeasured."""
    taken: list[float] = []
    warm = 5
    rows = bundle.golden.rows
    for number in range(limits.requests + warm):
        begun = time.perf_counter()
        _expect(_predict(client, bundle, rows[number % len(rows)]), 200)
        if number >= warm:
            taken.append((time.perf_counter() - begun) * 1000)
    # Not p99: of fifty requests that is the slowest alone, which a single pause of the machine decides.
    p50, p90 = (float(np.percentile(taken, share)) for share in (50, 90))
    seen = f"p50 {p50:.1f} ms, p90 {p90:.1f} ms of {limits.requests} requests, limit {limits.p90_ms:g} ms"
    if p90 > limits.p90_ms:
        raise _Found(seen)
    return seen


def _metrics(client: httpx.Client) -> str:
    answer = client.get("/metrics")
    _expect(answer, 200)
    if "# TYPE" not in answer.text:
        raise _Found("/metrics holds no metric")
    return "/metrics answers"


def _predict(client: httpx.Client, bundle: Bundle, item: GoldenRow) -> httpx.Response:
    return client.post("/predict", params={"model": bundle.model}, json={"row": item.row, "id": ENTITY})


def _answer(response: httpx.Response) -> Any:
    _expect(response, 200)
    return response.json()


def _expect(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise _Found(f"{response.status_code} from {response.url.path}: {response.text[:120]}")
