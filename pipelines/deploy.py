"""Deploy a registered version: `python -m pipelines.deploy staging|production MODEL`.

Staging takes the challenger and, when it passes, signs evidence that it did. Production takes the champion,
and only with that evidence. Whatever fails leaves running what ran before.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from contract.attestation import read_trust, sign
from contract.errors import BundleError, ConfigError, FlightlineError
from contract.statements import StagingEvidence
from pipelines.building import attempts
from pipelines.cli import OK, command, decision_options, json_option, parser
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
from pipelines.delivery.releases import Release, fetch, require_gates, require_staged
from pipelines.ledger import live, read
from pipelines.machine.processes import Say
from pipelines.machine.progress import showing
from pipelines.machine.settings import Settings

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
    say: Say = print,
) -> Deployed:
    """Deploy `version` to production, if staging passed it; without one, carry out the alias `champion`.

    A refused version gets the reason written on it. An alias that was carried out goes back to what is live,
    unless it was moved again meanwhile; one that was not carried out is left alone.

    Raises:
        VersionRefusedError, BundleError: the version does not qualify or fails; production serves what it
            served before.
        FlightlineError: something else is in the way; nothing is known about the version.
    """
    registry = connect(settings)
    with changing(PRODUCTION, settings):
        settle(PRODUCTION, settings, registry, say)
        return deploy_locked(registry, model, settings, version, who=who, why=why, at=at, say=say)


def deploy_locked(
    registry: Registry,
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    who: str = "",
    why: str = "",
    at: datetime | None = None,
    say: Say = print,
) -> Deployed:
    """What `deploy_production` does, for a caller that holds production's lock."""
    read_trust(settings.trust)  # a missing trust list is not the version's fault
    alias = settings.environment(PRODUCTION).alias
    held = registry.aliases(model)
    chosen = registry.by_number(model, version) if version else registry.by_alias(model, alias)
    try:
        release, evidence = qualified(registry, chosen, settings)
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


def qualified(registry: Registry, version: Version, settings: Settings) -> tuple[Release, str]:
    """The verified release of a version that may go to production, with the hash of staging's evidence.

    Raises:
        BundleError: something that was signed is missing, wrong, or about something else.
        VersionRefusedError: the champion has changed since the bundle was compared with it.
    """
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
    return release, evidence


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
    json_option(given)
    options = given.parse_args(argv)
    settings = Settings.from_environment()
    ways = {STAGING: deploy_staging, PRODUCTION: deploy_production}
    settings.environment(options.environment)
    if options.environment not in ways:
        raise ConfigError(
            f"nothing is deployed to {options.environment}", "staging or production", "Name one of them"
        )
    with showing(f"{options.environment} {options.model}", as_json=options.json) as say:
        deployed = ways[options.environment](
            options.model, settings, options.version, who=options.actor, why=options.why, say=say
        )
    if options.json:
        print(json.dumps(deployed.plain()))
    return OK


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


def _champion(registry: Registry, model: str, settings: Settings) -> str:
    """The digest of what a challenger must have been compared with; empty when there is nothing."""
    placed = live(read(settings.ledger), PRODUCTION, model)
    if placed is not None:
        return placed.digest
    number = registry.aliases(model).get(settings.environment(PRODUCTION).alias)
    return registry.by_number(model, number).digest if number else ""


if __name__ == "__main__":
    command(main)
