"""How everything stands at one moment: services, versions, evidence and traffic. Looking changes nothing.

Each is asked by itself: what does not answer, or is not believed, is said, and the others are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from contract.attestation import Trust, read_trust
from contract.errors import FlightlineError
from pipelines.delivery.aliases import awaited
from pipelines.delivery.backend import backend
from pipelines.delivery.registry import REFUSED, STAGING_EVIDENCE, Registry, Version, connect
from pipelines.delivery.releases import staged
from pipelines.delivery.services import recorded
from pipelines.delivery.turns import being_changed
from pipelines.ledger import Entry, Placed, history, live, models, read
from pipelines.local import RECONCILER, RELAY, SERVICES
from pipelines.machine.settings import Settings
from pipelines.promotion.carriers import Carrier, Webhook, last_webhook, reconciler_state, relay_state
from serving.models.desired import ALL, DesiredModel

PASSED, MISSING, UNKNOWN = "passed", "missing", "unknown"


@dataclass(frozen=True)
class Evidence:
    """What is known of a version's pass through staging."""

    state: str  # passed, refused (with the reason), missing, or unknown while MLflow does not answer
    checks: tuple[str, ...] = ()
    tested_at: str = ""  # ISO 8601 UTC
    reason: str = ""
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class LastChange:
    """The newest line of the ledger about a model in an environment."""

    at: str  # ISO 8601 UTC
    action: str
    who: str
    why: str
    evidence: str  # hash of what allowed it; empty where nothing was asked for


@dataclass(frozen=True)
class Refusal:
    """The version that was tried last and did not stay, by the ledger."""

    version: str
    at: str  # ISO 8601 UTC
    who: str
    why: str


@dataclass(frozen=True)
class Row:
    """One model in one environment."""

    environment: str
    model: str
    version: str  # by the ledger; empty where none ever ran
    digest: str
    alias: str  # the version that the environment's alias names; empty when none, or unknown
    since: str
    alias_unknown: str = ""  # why it is not known what the alias names; empty when it is
    awaited: str = ""  # the version to which the alias is to be moved once MLflow answers; empty where it was
    age_s: float | None = None  # how long the version has been there
    split: Mapping[str, float] = field(default_factory=dict)  # version to percent of the requests
    mirror: Mapping[str, float] = field(default_factory=dict)  # version to percent that it answers unseen
    loaded: tuple[str, ...] = ()  # versions that are to be loaded, whether or not anything is sent to them
    evidence: Evidence = Evidence(UNKNOWN)
    change: LastChange | None = None
    refused: str = ""  # why the version that the alias names may not run here, as it stands on the version
    tried: Refusal | None = None  # since the last change; None where nothing was refused since then

    @property
    def disagrees(self) -> bool:
        """Whether the alias is known to name another version than the one that runs."""
        return self.alias not in {"", self.version}


@dataclass(frozen=True)
class Status:
    """Everything at one moment."""

    mlflow: str  # its address, or why there is none
    services: dict[str, str]  # environment to stopped, not ready, differs, being changed or serving
    rows: tuple[Row, ...]
    urls: dict[str, str]
    at: str  # ISO 8601 UTC
    carriers: Mapping[str, Carrier] = field(default_factory=dict)  # of clicks: relay and reconciler
    webhook: Webhook | None = None  # the newest one
    ledger: str = ""  # why the ledger is not believed, so that no version or change is told; empty when it is


@dataclass(frozen=True)
class _Recorded:
    """What the ledger says; nothing where it does not verify."""

    entries: list[Entry]
    doubt: str = ""


@dataclass(frozen=True)
class _Registered:
    """What the registry says; nothing while it does not answer."""

    aliases: Mapping[str, Mapping[str, str]]
    versions: Mapping[tuple[str, str], Version]
    unreachable: str = ""  # why it says nothing


def status(settings: Settings) -> Status:
    """Look at MLflow, the services and the ledger; nothing is changed, and nothing needs to run."""
    said = _said(settings)
    registered = _registered(settings)
    rows = [
        _row(environment, model, said.entries, settings, registered)
        for environment in SERVICES
        for model in sorted(
            {
                *models(said.entries, environment),
                *_named(registered.aliases, environment, settings),
                *(_served(environment, settings) if said.doubt else ()),
            }
        )
    ]
    carrier, webhook = _relay(settings)
    return Status(
        mlflow=registered.unreachable.removeprefix("MLflow ") or settings.tracking_uri,
        services={name: _service(name, said, settings) for name in SERVICES},
        rows=tuple(rows),
        urls={name: settings.service_url(name) for name in SERVICES},
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        carriers={RELAY: carrier, RECONCILER: reconciler_state(settings)},
        webhook=webhook,
        ledger=said.doubt,
    )


def _said(settings: Settings) -> _Recorded:
    try:
        return _Recorded(read(settings.ledger))
    except FlightlineError as error:
        return _Recorded([], str(error))


def _relay(settings: Settings) -> tuple[Carrier, Webhook | None]:
    carrier = relay_state(settings)
    try:
        return carrier, last_webhook(settings)
    except FlightlineError as error:
        return replace(carrier, detail=str(error), trouble=True), None


def _service(environment: str, said: _Recorded, settings: Settings) -> str:
    place = backend(environment, settings)
    try:
        if not place.running():
            return "stopped"
        if not place.ready():
            return place.lacking(wait_s=0) or "not ready"
        if said.doubt:
            return "serving, and the ledger does not say what it should"
        if place.intact(recorded(environment, said.entries, settings)):
            return "serving"
        return "being changed" if being_changed(environment, settings) else "differs"
    except FlightlineError as error:  # of a cluster that does not answer: the rest is known all the same
        return f"unknown: {error.found}"


def _row(
    environment: str, model: str, entries: Sequence[Entry], settings: Settings, registered: _Registered
) -> Row:
    now = datetime.now(UTC)
    placed = live(entries, environment, model)
    past = history(entries, environment, model)
    last = past[-1] if past else None
    alias = registered.aliases.get(model, {}).get(settings.environment(environment).alias, "")
    desired = _desired(environment, model, settings)
    named = registered.versions.get((model, alias))
    noted = awaited(environment, model, settings)
    return Row(
        environment=environment,
        model=model,
        version=placed.version if placed else "",
        digest=placed.digest if placed else "",
        alias=alias,
        since=f"{last.at:%Y-%m-%d %H:%M:%S}Z" if last else "",
        alias_unknown=f"registry not reachable: {registered.unreachable}" if registered.unreachable else "",
        awaited=noted if placed is not None and noted == placed.version else "",
        age_s=round((now - last.at).total_seconds(), 1) if last else None,
        split=_split(desired),
        mirror=dict(desired.mirror) if desired else {},
        loaded=tuple(sorted(desired.versions)) if desired else (),
        evidence=_evidence(model, placed, registered, settings),
        change=_change(last) if last else None,
        refused=named.tags.get(REFUSED, "") if named else "",
        tried=_tried(environment, model, entries),
    )


def _served(environment: str, settings: Settings) -> list[str]:
    """The models that an environment is to serve, whatever the ledger says."""
    try:
        desired = backend(environment, settings).desired()
    except FlightlineError:  # said where the services are
        return []
    return sorted(desired.models) if desired else []


def _desired(environment: str, model: str, settings: Settings) -> DesiredModel | None:
    try:
        desired = backend(environment, settings).desired()
    except FlightlineError:  # said where the services are
        return None
    return desired.models.get(model) if desired else None


def _split(desired: DesiredModel | None) -> dict[str, float]:
    if desired is None:
        return {}
    return dict(desired.split) or {desired.default: ALL}


def _change(entry: Entry) -> LastChange:
    at = entry.at.isoformat(timespec="seconds")
    return LastChange(at, entry.action, entry.who, entry.why, entry.evidence)


def _tried(environment: str, model: str, entries: Sequence[Entry]) -> Refusal | None:
    of_it = [entry for entry in entries if (entry.environment, entry.model) == (environment, model)]
    if not of_it or of_it[-1].action != "refused":
        return None
    last = of_it[-1]
    return Refusal(last.after.version, last.at.isoformat(timespec="seconds"), last.who, last.why)


def _evidence(model: str, placed: Placed | None, registered: _Registered, settings: Settings) -> Evidence:
    """What the registry holds of the version that runs, judged as production judges it."""
    if placed is None:
        return Evidence(MISSING)
    if registered.unreachable:
        return Evidence(UNKNOWN, reason="MLflow does not answer")
    version = registered.versions.get((model, placed.version))
    if version is None:
        return Evidence(UNKNOWN, reason=f"the registry has no version {placed.version}")
    if STAGING_EVIDENCE not in version.tags:
        return Evidence(MISSING)
    try:
        found = staged(version, _trust(settings))
    except FlightlineError as error:
        return Evidence("refused", reason=error.found)
    names = tuple(name for name, _, _ in found.checks)
    return Evidence(PASSED, names, found.tested_at, measured=found.measured)


def _trust(settings: Settings) -> Trust:
    return read_trust(settings.trust)


def _named(aliases: Mapping[str, Mapping[str, str]], environment: str, settings: Settings) -> list[str]:
    """The models whose alias of `environment` names a version, whether or not it ever ran."""
    alias = settings.environment(environment).alias
    return [model for model, versions in aliases.items() if alias in versions]


def _registered(settings: Settings) -> _Registered:
    try:
        registry = connect(settings)
        names = registry.models()
        aliases = {model: registry.aliases(model) for model in names}
        return _Registered(aliases, _versions(registry, names))
    except FlightlineError as error:
        return _Registered({}, {}, error.found)


def _versions(registry: Registry, names: Sequence[str]) -> dict[tuple[str, str], Version]:
    return {(model, found.version): found for model in names for found in registry.versions(model)}
