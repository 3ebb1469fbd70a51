"""The bundle that production serves: what a challenger is compared with, and what is monitored."""

from contract.bundle import Bundle
from pipelines.delivery.releases import open_release
from pipelines.ledger import live, read
from pipelines.machine.settings import Settings

PRODUCTION = "production"


def champion(model: str, settings: Settings, environment: str = PRODUCTION) -> Bundle | None:
    """The verified bundle that the ledger says is live, or None where none ever was.

    The ledger rather than the registry's alias: an alias says what should run, the ledger what does.

    Raises:
        FlightlineError: the ledger or the release it names does not verify.
    """
    placed = live(read(settings.ledger), environment, model)
    if placed is None:
        return None
    return open_release(settings.releases / placed.digest, model, placed.digest, settings).bundle
