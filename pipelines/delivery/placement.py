"""Putting one version of a model into one environment, with a way back: used by deploy and rollback alike."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.delivery.releases import Release
from pipelines.delivery.services import (
    champions,
    converge,
    desire,
    ensure_service,
    recorded,
    running,
    stop_service,
)
from pipelines.delivery.smoke import Check, require_passed, run_smoke
from pipelines.ledger import Action, Entry, Placed, append, live, read
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from serving.models.desired import DesiredModel, read_desired


class VersionRefusedError(FlightlineError):
    """A version that may not run or cannot. What the machine could not do is any other FlightlineError."""


@dataclass(frozen=True)
class Change:
    """Who changes what, and why."""

    environment: str
    model: str
    version: str
    who: str
    why: str
    action: Action = "deploy"
    evidence: str = ""  # hash of the signed evidence that allows it
    at: datetime | None = None  # the moment to record; the replay of a past sets it


@dataclass(frozen=True)
class Deployed:
    """A version that runs, and what was seen of it."""

    environment: str
    model: str
    version: str
    digest: str
    generation: int
    previous: Placed | None
    changed: bool  # False: it ran already, and was checked again
    checks: tuple[Check, ...]
    url: str

    def plain(self) -> dict[str, object]:
        """For `--json`."""
        before = self.previous
        return {
            **asdict(self),
            "previous": {"version": before.version, "digest": before.digest} if before else None,
        }


@contextmanager
def changing(environment: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of `environment`: its service, its lines in the ledger and its alias change together."""
    with exclusive(settings.var / "environments" / environment / ".lock", f"change of {environment}"):
        yield


def place(change: Change, release: Release, settings: Settings, say: Say = print) -> Deployed:
    """Serve `release`, smoke-test it, and write the ledger; on any failure serve what ran before.

    The caller holds the environment's lock (`changing`).

    Raises:
        VersionRefusedError: the service refuses the release, or it fails a smoke test.
        FlightlineError: the service does not start, or the ledger cannot be written.
    """
    environment, model = change.environment, change.model
    entries = read(settings.ledger)
    before = recorded(environment, entries, settings)
    digest = release.bundle.digest
    back = change.action != "deploy"  # to what ran before: its contract may be the older one
    wanted = {
        **before,
        model: DesiredModel.of(change.version, str(release.path), digest, older_contract=back),
    }
    _align(environment, before, settings)
    ran = running(environment, settings) is not None
    service = ensure_service(environment, settings, say)
    try:
        generation, checks = _try(change, release, wanted, settings, say)
        previous = live(entries, environment, model)
        placed = Placed(version=change.version, digest=digest)
        if previous != placed or change.action != "deploy":
            append(settings.ledger, _entry(change, previous, placed))
    except BaseException:  # Ctrl-C too: what ran before runs again
        _restore(environment, settings, say, keep_running=ran)
        raise
    say(f"{environment}: {model} version {change.version} is live at {service.url}")
    return Deployed(
        environment=environment,
        model=model,
        version=change.version,
        digest=digest,
        generation=generation,
        previous=previous,
        changed=previous != placed,
        checks=checks,
        url=service.url,
    )


def _try(
    change: Change, release: Release, wanted: Mapping[str, DesiredModel], settings: Settings, say: Say
) -> tuple[int, tuple[Check, ...]]:
    """Serve `wanted` and look: the generation it took, and what was seen."""
    environment = change.environment
    try:
        generation = converge(environment, wanted, settings)
        limits = settings.environment(environment).smoke
        checks = run_smoke(settings.service_url(environment), release.bundle, change.version, limits)
        for check in checks:
            say(f"{environment}: {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.seen}")
        require_passed(checks, f"version {change.version} of {change.model} in {environment}")
    except FlightlineError as error:
        raise VersionRefusedError(error.found, error.expected, error.remedy) from error
    return generation, checks


def _align(environment: str, before: Mapping[str, DesiredModel], settings: Settings) -> None:
    """Undo what a deployment that was killed left desired: a service must not start with it."""
    desired = read_desired(settings.state(environment))
    found = champions(desired.models) if desired else {}
    if found != champions(before) and running(environment, settings) is None:
        desire(environment, before, settings)


def _restore(environment: str, settings: Settings, say: Say, *, keep_running: bool) -> None:
    """Serve what the ledger says, which may already be the new version; stop what was started for this."""
    before = recorded(environment, read(settings.ledger), settings)
    if not keep_running:
        stop_service(environment, settings)
    if running(environment, settings) is None:
        desire(environment, before, settings)
        return
    try:
        converge(environment, before, settings)
    except FlightlineError as error:
        say(f"{environment}: what ran before is desired again, but not confirmed ({error.found})")


def _entry(change: Change, previous: Placed | None, placed: Placed) -> Entry:
    return Entry(
        at=change.at or datetime.now(UTC),
        environment=change.environment,
        model=change.model,
        action=change.action,
        before=previous,
        after=placed,
        who=change.who,
        why=change.why,
        evidence=change.evidence,
    )
