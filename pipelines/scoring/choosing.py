"""Which release scores: what an environment runs, a registered version, or a release directory."""

from pathlib import Path

from contract.attestation import read_trust
from contract.errors import FlightlineError
from contract.release import open_release as open_any
from pipelines.delivery.champion import PRODUCTION
from pipelines.delivery.registry import connect
from pipelines.delivery.releases import fetch
from pipelines.ledger import live, read
from pipelines.machine.settings import Settings
from serving.models.predictor import Predictor

LOCAL = "local"  # the version of a release that was named by its path


def choose(
    model: str,
    settings: Settings,
    *,
    environment: str = PRODUCTION,
    version: str = "",
    release: Path | None = None,
) -> Predictor:
    """The verified model that answers, loaded as the service loads it.

    A release directory or a version where one is named; else what the ledger says is live in `environment`;
    where nothing ever was, the version that the registry's alias of that environment names.

    Raises:
        FlightlineError: nothing is live, or it does not verify or is of another model.
    """
    declared = settings.environment(environment)
    if release is not None:
        return _loaded(model, release, "", LOCAL, settings)
    placed = None if version else live(read(settings.ledger), environment, model)
    if placed is not None:
        return _loaded(model, settings.releases / placed.digest, placed.digest, placed.version, settings)
    if version or settings.has_registry:
        registry = connect(settings)
        wanted = version or registry.aliases(model).get(declared.alias)
        if wanted:
            found = fetch(registry, registry.by_number(model, wanted), settings)
            return _loaded(model, found.path, found.bundle.digest, wanted, settings)
    raise FlightlineError(
        f"no {model} runs in {environment}",
        "a version that was deployed",
        "Deploy one (make production), or name --version or --release",
    )


def _loaded(model: str, path: Path, digest: str, version: str, settings: Settings) -> Predictor:
    trust = read_trust(settings.trust)
    bundle = open_any(path, digest or None, trust)
    if bundle.model != model:
        raise FlightlineError(
            f"{path} holds a release of '{bundle.model}'", f"one of '{model}'", "Name another release"
        )
    return Predictor.load(path, bundle.digest, version, trust)
