"""What a deployed version shows over HTTP within a second, in every environment, before it is trusted."""

import json
import math
import time
from collections.abc import Sequence

import httpx
import numpy as np

from contract.bundle import Bundle, GoldenRow
from contract.schema import Contract
from pipelines.machine.environments import Smoke
from pipelines.machine.tls import authorities
from pipelines.staging.bad import bad_inputs, unrefused
from pipelines.staging.checks import ENTITY, Check, Found, Look, answer, checked, expect

BATCH = 200  # golden rows a request
SHOWN = 5  # bad inputs that a sentence names


def run_smoke(
    url: str, bundle: Bundle, version: str, limits: Smoke, transport: httpx.BaseTransport | None = None
) -> tuple[Check, ...]:
    """Every check against the service at `url`, which should serve `version` of the model in `bundle`."""
    with httpx.Client(
        base_url=url, timeout=10.0, trust_env=False, verify=authorities(), transport=transport
    ) as client:
        suite: list[tuple[str, Look]] = [
            ("ready", lambda: _ready(client)),
            ("version", lambda: _version(client, bundle, version)),
            ("contract", lambda: _contract(client, bundle.contract)),
            ("golden answers", lambda: _golden(client, bundle)),
            ("bad inputs refused", lambda: _bad_inputs(client, bundle)),
            ("latency", lambda: _latency(client, bundle, limits)),
            ("metrics", lambda: _metrics(client)),
        ]
        return tuple(checked(name, look) for name, look in suite)


def golden_by_name(client: httpx.Client, bundle: Bundle, version: str) -> Check:
    """Whether `version`, asked by name while it answers nobody else, gives the bundle's golden answers."""
    return checked("golden answers", lambda: _golden(client, bundle, version))


def _ready(client: httpx.Client) -> str:
    expect(client.get("/readyz"), 200)
    return "200 from /readyz"


def _version(client: httpx.Client, bundle: Bundle, version: str) -> str:
    body = answer(_predict(client, bundle, bundle.golden.rows[0]))
    found, expected = (body["version"], body["digest"]), (version, bundle.digest)
    if found != expected:
        raise Found(f"version {found[0]} ({found[1][:12]}) answered, not {version} ({bundle.digest[:12]})")
    return f"version {version} ({bundle.digest[:12]}) answers"


def _contract(client: httpx.Client, contract: Contract) -> str:
    found = answer(client.get("/models"))
    text = json.dumps(found)
    if contract.fingerprint not in text:
        raise Found(f"no model with contract {contract.fingerprint[:12]} is served")
    expect(client.get(f"/models/{contract.model}/contract"), 200)
    return f"contract {contract.fingerprint[:12]}"


def _golden(client: httpx.Client, bundle: Bundle, version: str | None = None) -> str:
    worst = 0.0
    named = {"model": bundle.model} | ({"version": version} if version else {})
    rows = bundle.golden.rows
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        body = answer(
            client.post(
                "/predict_batch",
                params=named,
                json={"rows": [item.row for item in part], "ids": [ENTITY] * len(part)},
            )
        )
        if tuple(body["classes"]) != bundle.contract.classes:
            raise Found(f"classes {body['classes']}")
        for number, (item, label, scores) in enumerate(
            zip(part, body["predictions"], body["scores"], strict=True), start=start
        ):
            worst = max(worst, _difference(item, label, scores, bundle, number))
    one = answer(client.post("/predict", params=named, json={"row": rows[0].row, "id": ENTITY}))
    single = [one["scores"][name] for name in bundle.contract.classes]
    _difference(rows[0], one["prediction"], single, bundle, 0)
    return f"{len(rows)} rows, scores within {worst:.2g}"


def _difference(item: GoldenRow, label: str, scores: Sequence[float], bundle: Bundle, number: int) -> float:
    if label != item.label:
        raise Found(f"golden row {number} is answered '{label}', not '{item.label}'")
    worst = max(abs(found - expected) for found, expected in zip(scores, item.scores, strict=True))
    if not math.isfinite(worst) or worst > bundle.golden.tolerance:
        raise Found(f"golden row {number} differs by {worst:.3g}, tolerance {bundle.golden.tolerance:.3g}")
    return worst


def _bad_inputs(client: httpx.Client, bundle: Bundle) -> str:
    wrong: list[str] = []
    cases = bad_inputs(bundle)
    for case in cases:
        found = unrefused(case, client.request(**case.request))
        if found:
            wrong.append(f"{case.name}: {found}")
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Found("not refused with an explanation: " + ", ".join(wrong[:SHOWN]) + more)
    return f"{len(cases)} kinds refused"


def _latency(client: httpx.Client, bundle: Bundle, limits: Smoke) -> str:
    """Requests one after another over one connection, the first few unmeasured."""
    taken: list[float] = []
    warm = 5
    rows = bundle.golden.rows
    for number in range(limits.requests + warm):
        begun = time.perf_counter()
        expect(_predict(client, bundle, rows[number % len(rows)]), 200)
        if number >= warm:
            taken.append((time.perf_counter() - begun) * 1000)
    # Not p99: of fifty requests that is the slowest alone, which a single pause of the machine decides.
    p50, p90 = (float(np.percentile(taken, share)) for share in (50, 90))
    seen = f"p50 {p50:.1f} ms, p90 {p90:.1f} ms of {limits.requests} requests, limit {limits.p90_ms:g} ms"
    if p90 > limits.p90_ms:
        raise Found(seen)
    return seen


def _metrics(client: httpx.Client) -> str:
    answer = client.get("/metrics")
    expect(answer, 200)
    if "# TYPE" not in answer.text:
        raise Found("/metrics holds no metric")
    return "/metrics answers"


def _predict(client: httpx.Client, bundle: Bundle, item: GoldenRow) -> httpx.Response:
    return client.post("/predict", params={"model": bundle.model}, json={"row": item.row, "id": ENTITY})
