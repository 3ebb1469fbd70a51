"""Whether a version may go to production: what was signed, compared, and what callers may send."""

from contract.attestation import read_trust
from contract.errors import BundleError
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.refusals import require_not_refused
from pipelines.delivery.registry import Registry, Version
from pipelines.delivery.releases import Release, fetch, open_release, require_gates, require_staged
from pipelines.delivery.trail import neighbours
from pipelines.ledger import live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.settings import Settings
from serving.models.compatibility import narrower


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
            _way_on(version, settings),
        )
    _require_contract(release, version, settings)
    return release, evidence


def _way_on(version: Version, settings: Settings) -> str:
    """What a person may do with a version that was not compared with what is live."""
    model = version.model
    back, ahead = neighbours(read(settings.ledger), PRODUCTION, model)
    for known, option in ((back, ""), (ahead, " --forward")):
        if known is not None and known.version == version.version:
            return f"It has run before, and needs none: `python -m pipelines.rollback {model}{option}`"
    return f"Qualify and register it again, as `make register MODEL={model}` does"


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
