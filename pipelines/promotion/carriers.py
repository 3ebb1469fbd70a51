"""Whether what carries out a click runs, and which webhook came last. Looking changes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from pipelines.local import RECONCILER, RELAY
from pipelines.machine.processes import find
from pipelines.machine.settings import Settings
from pipelines.promotion.deliveries import last_delivery

RUNNING, STOPPED, ELSEWHERE, SILENT, FOREIGN = (
    "running",
    "stopped",
    "not run by this machine",  # whose MLflow is shared: one machine deploys from it
    "does not answer",
    "answers, but was not started from here",
)
TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Carrier:
    """The relay or the reconciler."""

    state: str
    detail: str = ""  # what waits, or why the last round came to nothing
    trouble: bool = False  # whether `detail` is one


@dataclass(frozen=True)
class Webhook:
    """The newest delivery that the relay has accepted."""

    at: str  # ISO 8601 UTC, by MLflow's clock
    age_s: float
    model: str
    alias: str
    version: str  # empty where the alias was taken away
    done: bool  # whether it was acted on


def relay_state(settings: Settings) -> Carrier:
    """The relay, and how many deliveries it has still to act on."""
    state, said = _look(RELAY, settings.relay_port, settings)
    pending = said.get("pending", 0)
    troubles = [f"{pending} to be carried out" if pending else "", str(said.get("trouble", ""))]
    detail = "; ".join(trouble for trouble in troubles if trouble)
    return Carrier(state, detail, trouble=bool(detail))


def reconciler_state(settings: Settings) -> Carrier:
    """The reconciler, and what keeps it from its work."""
    state, said = _look(RECONCILER, settings.reconciler_port, settings)
    unwell = [item for item in said.get("last", ()) if item.get("outcome") in {"failed", "refused"}]
    reasons = [
        said.get("trouble", ""),
        *(f"{item['model']} {item['outcome']}: {item['detail']}" for item in unwell),
    ]
    detail = "; ".join(reason for reason in reasons if reason)
    return Carrier(
        state, detail or (f"{said['rounds']} rounds" if "rounds" in said else ""), trouble=bool(detail)
    )


def last_webhook(settings: Settings) -> Webhook | None:
    """The newest one; None where none ever came."""
    found = last_delivery(settings.var / "relay" / "deliveries.db")
    if found is None:
        return None
    delivery, done = found
    at = datetime.fromtimestamp(delivery.sent, UTC)
    return Webhook(
        at=at.isoformat(timespec="seconds"),
        age_s=round((datetime.now(UTC) - at).total_seconds(), 1),
        model=delivery.model,
        alias=delivery.alias,
        version=delivery.version,
        done=done,
    )


def _look(name: str, port: int, settings: Settings) -> tuple[str, dict[str, Any]]:
    """One of the states, and what the process says of itself."""
    ours = find(settings.processes, name) is not None
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/livez", timeout=TIMEOUT_S, trust_env=False)
        said = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        said = None
    if isinstance(said, dict):
        return (RUNNING if ours else FOREIGN), (said if ours else {})
    if ours:
        return SILENT, {}
    return (STOPPED if settings.owns_tracking else ELSEWHERE), {}
