"""Deploy a registered version: `python -m pipelines.deploy staging|production MODEL`.

Staging takes the challenger and, when it passes, signs evidence that it did. Production takes the champion,
and only with that evidence. Whatever fails leaves running what ran before.
"""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime

from contract.attestation import sign
from contract.errors import ConfigError, FlightlineError
from contract.statements import StagingEvidence
from pipelines.cli import OK, command
from pipelines.delivery.aliases import move, settle
from pipelines.delivery.keys import ensure_keys, private_key, read_trust
from pipelines.delivery.placement import Change, Deployed, place
from pipelines.delivery.registry import (
    CHAMPION,
    REFUSED,
    STAGING,
    STAGING_EVIDENCE,
    Registry,
    Version,
    connect,
)
from pipelines.delivery.releases import Release, fetch, require_staged
from pipelines.ledger import live, read
from pipelines.machine.processes import Say
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

    Raises:
        FlightlineError: the release does not verify or fails; staging serves what it served before.
    """
    registry = connect(settings)
    ensure_keys(settings.keys)
    alias = settings.environment(STAGING).alias
    source = "challenger" if alias == STAGING else alias
    chosen = registry.by_number(model, version) if version else registry.by_alias(model, source)
    release = fetch(registry, chosen, settings)
    change = Change(
        environment=STAGING,
        model=model,
        version=chosen.version,
        who=who or settings.actor,
        why=why or f"version {chosen.version} is to be tested",
        at=at,
    )
    deployed = place(change, release, settings, say)
    _witness(registry, chosen, deployed, settings)
    move(settings, model, alias, chosen.version, say)
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
    """Deploy `version` (default: the champion) to production, if staging passed it.

    A refusal or failure moves the alias `champion` back to what is live and writes the reason on the version.

    Raises:
        FlightlineError: the version does not qualify or fails; production serves what it served before.
    """
    registry = connect(settings)
    settle(settings, registry, say)
    alias = settings.environment(PRODUCTION).alias
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
        deployed = place(change, release, settings, say)
    except FlightlineError as refusal:
        give_back(registry, chosen, str(refusal), settings, say)
        raise
    registry.untag(chosen, REFUSED)
    move(settings, model, alias, chosen.version, say)
    return deployed


def qualified(registry: Registry, version: Version, settings: Settings) -> tuple[Release, str]:
    """The verified release of a version that may go to production, with the hash of staging's evidence.

    Raises:
        FlightlineError: something that was signed is missing, wrong, or about something else; or the
            champion has changed since the bundle was compared with it.
    """
    release = fetch(registry, version, settings)
    evidence = require_staged(version, read_trust(settings.trust))
    placed = live(read(settings.ledger), PRODUCTION, version.model)
    compared = release.qualification.champion
    if placed is not None and placed.digest not in {version.digest, compared}:
        raise FlightlineError(
            f"version {version.version} of {version.model} was compared with "
            f"{compared[:12] or 'no champion'}, but {placed.digest[:12]} is live",
            "a comparison with what is live",
            f"Qualify and register it again: `python -m pipelines.qualify {version.model}`",
        )
    return release, evidence


def give_back(registry: Registry, version: Version, reason: str, settings: Settings, say: Say) -> None:
    """Point `champion` at what is live again and write `reason` on the version, where a person sees it."""
    placed = live(read(settings.ledger), PRODUCTION, version.model)
    move(settings, version.model, CHAMPION, placed.version if placed else None, say)
    try:
        registry.tag(version, REFUSED, reason)
    except FlightlineError as error:
        say(f"the reason is not on the version: {error}")


def main(argv: list[str] | None = None) -> int:
    """Deploy one model to one environment."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.deploy staging flights",
    )
    parser.add_argument("environment", help="staging or production")
    parser.add_argument("model")
    parser.add_argument("--version", help="a registered version (default: what the alias says)")
    parser.add_argument("--actor", default="", help="who deploys, for the ledger (default: FLIGHTLINE_ACTOR)")
    parser.add_argument("--why", default="", help="the reason, for the ledger")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    ways = {STAGING: deploy_staging, PRODUCTION: deploy_production}
    settings.environment(options.environment)
    if options.environment not in ways:
        raise ConfigError(
            f"nothing is deployed to {options.environment}", "staging or production", "Name one of them"
        )
    quiet: Say = lambda _: None  # noqa: E731 - a name for saying nothing
    deployed = ways[options.environment](
        options.model,
        settings,
        options.version,
        who=options.actor,
        why=options.why,
        say=quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(_plain(deployed)))
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
    )
    envelope = sign(statement, "staging", private_key(settings.keys, "staging"))
    registry.tag(version, STAGING_EVIDENCE, envelope.decode())


def _plain(deployed: Deployed) -> dict[str, object]:
    previous = deployed.previous
    return {
        **asdict(deployed),
        "previous": {"version": previous.version, "digest": previous.digest} if previous else None,
    }


if __name__ == "__main__":
    command(main)
