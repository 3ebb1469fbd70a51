"""The bundle that production serves: what a challenger is compared with, and what is monitored."""

from contract.bundle import Bundle
from pipelines.delivery.registry import connect
from pipelines.delivery.releases import fetch, open_release
from pipelines.ledger import live, read
from pipelines.machine.settings import Settings

PRODUCTION = "production"


def champion(model: str, settings: Settings, environment: str = PRODUCTION) -> Bundle | None:
    """The verified bundle that the ledger says is live, else the one that the alias names, else None.

    The ledger comes first: an alias says what should run, the ledger what does. Where nothing was ever live,
    as on a machine that has only just joined a shared registry, the alias of production decides.

    Raises:
        FlightlineError: the ledger or the release does not verify, or there is a registry to ask and it does
            not answer: "no champion" is never said without knowing.
    """
    placed = live(read(settings.ledger), environment, model)
    if placed is not None:
        return open_release(settings.releases / placed.digest, model, placed.digest, settings).bundle
    if environment != PRODUCTION or not settings.has_registry:
        return None
    registry = connect(settings)
    version = registry.aliases(model).get(settings.environment(PRODUCTION).alias)
    return fetch(registry, registry.by_number(model, version), settings).bundle if version else None
