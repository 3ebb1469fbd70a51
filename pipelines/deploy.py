"""Deploy a registered version: `python -m pipelines.deploy staging|production MODEL`.

Staging takes the challenger and, when it passes, signs evidence that it did. Production takes the champion,
and only with that evidence. Whatever fails leaves running what ran before.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from contract.attestation import read_trust, sign
from contract.errors import BundleError, ConfigError
from contract.statements import StagingEvidence
from pipelines.building import attempts
from pipelines.cli import OK, again_option, check_again, command, decision_options, json_option, parser
from pipelines.delivery.aliases import Pending, following, settle
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.placement import Change, Deployed, VersionRefusedError, place
from pipelines.delivery.qualifying import qualified
from pipelines.delivery.refusals import give_back, mark_refused, refusals_as_json
from pipelines.delivery.registry import (
    CHALLENGER,
    STAGING,
    STAGING_EVIDENCE,
    Registry,
    Version,
    connect,
)
from pipelines.delivery.releases import Release, fetch, require_gates
from pipelines.delivery.turns import changing
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.progress import showing
from pipelines.machine.settings import Settings


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
            deployed = _placed(change, release, settings, say)
    except (BundleError, VersionRefusedError) as refusal:
        mark_refused(registry, chosen, str(refusal), say)
        if version is None:
            give_back(registry, chosen, settings, say)
        raise
    return deployed


def _placed(change: Change, release: Release, settings: Settings, say: Say) -> Deployed:
    """`place`, and what came of it for the decision about the next retraining."""
    digest = release.bundle.digest
    try:
        deployed = place(change, release, settings, say)
    except VersionRefusedError:
        attempts.staged(change.model, digest, settings, passed=False)
        raise
    attempts.staged(change.model, digest, settings, passed=True)
    return deployed


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
    if options.again and options.environment == STAGING:
        raise ConfigError("--again is given for staging", "production", "Leave it out")
    way = (
        deploy_staging if options.environment == STAGING else partial(deploy_production, again=options.again)
    )
    title = f"{options.environment} {options.model}"
    with showing(title, as_json=options.json) as say, refusals_as_json(printed=options.json):
        deployed = way(options.model, settings, options.version, who=options.actor, why=options.why, say=say)
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


if __name__ == "__main__":
    command(main)
