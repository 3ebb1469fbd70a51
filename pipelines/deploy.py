"""Deploy a registered version: `python -m pipelines.deploy staging|production MODEL`.

Staging takes the challenger and, when it passes, signs evidence that it did. Production takes the champion,
and only with that evidence. Whatever fails leaves running what ran before.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from contract.attestation import read_trust, sign
from contract.errors import BundleError, ConfigError, FlightlineError
from contract.statements import StagingEvidence
from pipelines.building import attempts
from pipelines.cli import OK, again_option, check_again, command, decision_options, json_option, parser
from pipelines.delivery.aliases import Pending, following, settle
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.placement import Change, Deployed, VersionRefusedError, changing, place
from pipelines.delivery.registry import (
    CHALLENGER,
    REFUSED,
    STAGING,
    STAGING_EVIDENCE,
    Registry,
    Version,
    connect,
)
from pipelines.delivery.releases import Release, fetch, open_release, require_gates, require_staged
from pipelines.ledger import Entry, live, read, refusal
from pipelines.machine.processes import Say
from pipelines.machine.progress import showing
from pipelines.machine.settings import Settings
from serving.models.compatibility import narrower

PRODUCTION = "production"


def deploy_staging(
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    who: str = "",
    why: str = "",
    at: datetime | None = None,
    say: Say = print,
) -> Deployed:
    """Deploy `version` (default: the challenger) to staging; sign evidence once it passed there.

    Evidence of an earlier pass is withdrawn first: a version that fails today is not promoted on yesterday's.

    Raises:
        FlightlineError: the release does not verify or fails; staging serves what it served before.
    """
    registry = connect(settings)
    ensure_keys(settings.keys)
    alias = settings.environment(STAGING).alias
    with changing(STAGING, settings):
        settle(STAGING, settings, registry, say)
        held = registry.aliases(model)
        source = CHALLENGER if alias == STAGING else alias
        chosen = registry.by_number(model, version) if version else registry.by_alias(model, source)
        registry.untag(chosen, STAGING_EVIDENCE)
        release = fetch(registry, chosen, settings)
        require_gates(release)
        change = Change(
            environment=STAGING,
            model=model,
            version=chosen.version,
            who=who or settings.actor,
            why=why or f"version {chosen.version} is to be tested",
            at=at,
        )
        try:
            deployed = place(change, release, settings, say)
        except VersionRefusedError:
            attempts.staged(model, chosen.digest, settings, passed=False)
            raise
        _witness(registry, chosen, deployed, settings)
        # Only now: without evidence the alias would name a version that cannot be promoted.
        with following(_move(STAGING, alias, chosen, held), settings, say, registry):
            pass
        attempts.staged(model, chosen.digest, settings, passed=True)
    return deployed


def deploy_production(
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    who: str = "",
    why: str = "",
    at: datetime | None = None,
    again: bool = False,
    say: Say = print,
) -> Deployed:
    """Deploy `version` to production, if staging passed it; without one, carry out the alias `champion`.

    A refused version gets the reason written on it. An alias that was carried out goes back to what is live,
    unless it was moved again meanwhile; one that was not carried out is left alone. A bundle that production
    has refused is tried `again` only where a person says so.

    Raises:
        VersionRefusedError, BundleError: the version does not qualify or fails; production serves what it
            served before.
        FlightlineError: something else is in the way; nothing is known about the version.
    """
    registry = connect(settings)
    with changing(PRODUCTION, settings):
        settle(PRODUCTION, settings, registry, say)
        return deploy_locked(
            registry, model, settings, version, who=who, why=why, at=at, again=again, say=say
        )


def deploy_locked(
    registry: Registry,
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    who: str = "",
    why: str = "",
    at: datetime | None = None,
    again: bool = False,
    say: Say = print,
) -> Deployed:
    """What `deploy_production` does, for a caller that holds production's lock."""
    read_trust(settings.trust)  # a missing trust list is not the version's fault
    alias = settings.environment(PRODUCTION).alias
    held = registry.aliases(model)
    chosen = registry.by_number(model, version) if version else registry.by_alias(model, alias)
    try:
        release, evidence = qualified(registry, chosen, settings, again=again)
        change = Change(
            environment=PRODUCTION,
            model=model,
            version=chosen.version,
            who=who or settings.actor,
            why=why or f"version {chosen.version} is the {alias}",
            evidence=evidence,
            at=at,
        )
        with following(_move(PRODUCTION, alias, chosen, held), settings, say, registry):
            deployed = place(change, release, settings, say)
    except (BundleError, VersionRefusedError) as refusal:
        mark_refused(registry, chosen, str(refusal), say)
        if version is None:
            give_back(registry, chosen, settings, say)
        raise
    registry.untag(chosen, REFUSED)
    return deployed


def qualified(
    registry: Registry, version: Version, settings: Settings, *, again: bool = False
) -> tuple[Release, str]:
    """The verified release of a version that may go to production, with the hash of staging's evidence.

    Raises:
        BundleError: something that was signed is missing, wrong, or about something else.
        VersionRefusedError: the champion has changed since the bundle was compared with it, callers may send
            what it would refuse, or production has refused it before and it is not to be tried `again`.
    """
    if not again:
        require_not_refused(version, settings)
    release = fetch(registry, version, settings)
    require_gates(release)
    evidence = require_staged(version, read_trust(settings.trust))
    champion = _champion(registry, version.model, settings)
    compared = release.qualification.champion
    if champion not in {"", version.digest, compared}:
        raise VersionRefusedError(
            f"version {version.version} of {version.model} was compared with "
            f"{compared[:12] or 'no champion'}, but {champion[:12]} is live",
            "a comparison with what is live",
            f"Qualify and register it again: `python -m pipelines.qualify {version.model}`",
        )
    _require_contract(release, version, settings)
    return release, evidence


def left(entry: Entry) -> VersionRefusedError:
    """Why the version that `entry` was a way back from is not deployed by a click."""
    version = entry.before.version if entry.before else ""
    return VersionRefusedError(
        f"version {version} of {entry.model} was left for version {entry.after.version} on "
        f"{entry.at:%Y-%m-%d %H:%M}Z ({entry.who}: {entry.why})",
        "a version that nobody went back from",
        f"To have it again, run `python -m pipelines.promote {entry.model} --version {version}`, or undo the "
        f"change with `python -m pipelines.rollback {entry.model}`",
    )


def require_not_refused(version: Version, settings: Settings) -> None:
    """Nothing, unless production tried this bundle and went back, and nobody has decided otherwise since.

    Raises:
        VersionRefusedError: it did; the sentence says when, why, and how a person tries again.
    """
    tried = refusal(read(settings.ledger), PRODUCTION, version.model, version.digest)
    if tried is None:
        return
    raise VersionRefusedError(
        f"version {version.version} of {version.model} was refused {tried.at:%Y-%m-%d %H:%M}Z: {tried.why}",
        "a version that production has not gone back from",
        f"Correct the model; or run `python -m pipelines.promote {version.model} --version {version.version} "
        "--again --actor WHO --why REASON`",
    )


def mark_refused(registry: Registry, version: Version, reason: str, say: Say) -> None:
    """Write `reason` on the version, where a person sees it."""
    try:
        registry.tag(version, REFUSED, reason)
    except FlightlineError as error:
        say(f"the reason is not on the version: {error}")


def give_back(registry: Registry, version: Version, settings: Settings, say: Say) -> None:
    """Point production's alias at what is live again, if it still names the refused `version`.

    Where nothing is live there is nothing to point at, and the alias stays: it may be somebody else's.
    """
    placed = live(read(settings.ledger), PRODUCTION, version.model)
    if placed is None:
        return
    alias = settings.environment(PRODUCTION).alias
    try:
        kept = registry.swap_alias(version.model, alias, placed.version, {version.version})
    except FlightlineError as error:
        say(f"the alias '{alias}' of {version.model} is not back at version {placed.version}: {error}")
        return
    if kept is not None:
        say(f"the alias '{alias}' of {version.model} was moved to version {kept} meanwhile and stays there")


def main(argv: list[str] | None = None) -> int:
    """Deploy one model to one environment."""
    given = parser("deploy", __doc__, "deploy staging flights")
    given.add_argument("environment", help="staging or production")
    given.add_argument("model")
    given.add_argument("--version", help="a registered version (default: what the alias says)")
    decision_options(given)
    again_option(given)
    json_option(given)
    options = given.parse_args(argv)
    check_again(options)
    settings = Settings.from_environment()
    settings.environment(options.environment)
    if options.environment not in {STAGING, PRODUCTION}:
        raise ConfigError(
            f"nothing is deployed to {options.environment}", "staging or production", "Name one of them"
        )
    way = (
        deploy_staging if options.environment == STAGING else partial(deploy_production, again=options.again)
    )
    title = f"{options.environment} {options.model}"
    with showing(title, as_json=options.json) as say, refusals_as_json(printed=options.json):
        deployed = way(options.model, settings, options.version, who=options.actor, why=options.why, say=say)
    if options.json:
        print(json.dumps(deployed.plain()))
    return OK


@contextmanager
def refusals_as_json(*, printed: bool) -> Iterator[None]:
    """What the steps of a refused rollout saw is `printed`, where a program reads, before it goes on."""
    try:
        yield
    except VersionRefusedError as error:
        if printed:
            print(json.dumps({"refused": str(error), "steps": [asdict(step) for step in error.steps]}))
        raise


def _witness(registry: Registry, version: Version, deployed: Deployed, settings: Settings) -> None:
    """Sign what staging saw of a version and put it on the version."""
    statement = StagingEvidence(
        model=version.model,
        digest=version.digest,
        version=version.version,
        run_id=version.run_id,
        checks=tuple((check.name, check.passed, check.seen) for check in deployed.checks),
        tested_at=datetime.now(UTC).isoformat(timespec="seconds"),
        measured={check.name: dict(check.measured) for check in deployed.checks if check.measured},
    )
    envelope = sign(statement, "staging", private_key(settings.keys, "staging"))
    registry.tag(version, STAGING_EVIDENCE, envelope.decode())


def _move(environment: str, alias: str, version: Version, held: Mapping[str, str]) -> Pending:
    """The move of `alias` to `version` from where it was seen, and from nowhere else."""
    seen = (held[alias],) if alias in held else ()
    return Pending(environment, version.model, alias, version.version, seen)


def _require_contract(release: Release, version: Version, settings: Settings) -> None:
    """Refuse a contract older than that of what is live, as the service would once it had loaded it."""
    placed = live(read(settings.ledger), PRODUCTION, version.model)
    if placed is None or placed.digest == version.digest:
        return
    try:
        served = open_release(settings.releases / placed.digest, version.model, placed.digest, settings)
    except BundleError:
        return  # a damaged release is no reason to keep it; the service, which has it loaded, compares too
    problem = narrower(release.bundle.contract, served.bundle.contract)
    if problem:
        raise VersionRefusedError(
            f"version {version.version} of {version.model} has an older contract than version "
            f"{placed.version}, which answers: it {problem}",
            "a contract that accepts all that callers may send now",
            "Train it with the present contract",
        )


def _champion(registry: Registry, model: str, settings: Settings) -> str:
    """The digest of what a challenger must have been compared with; empty when there is nothing."""
    placed = live(read(settings.ledger), PRODUCTION, model)
    if placed is not None:
        return placed.digest
    number = registry.aliases(model).get(settings.environment(PRODUCTION).alias)
    return registry.by_number(model, number).digest if number else ""


if __name__ == "__main__":
    command(main)
