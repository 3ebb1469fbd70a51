"""An environment that is a process of this machine."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipelines.delivery import services
from pipelines.delivery.rollout_metrics import read_metrics
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from serving.models.desired import Desired, DesiredModel, read_desired


@dataclass(frozen=True)
class LocalBackend:
    """The service of `environment`, which follows a file in its state folder."""

    environment: str
    settings: Settings

    @property
    def url(self) -> str:
        """Its port on the loopback."""
        return self.settings.service_url(self.environment)

    def ensure(self, say: Say = print) -> None:
        """Start it unless it runs."""
        services.ensure_service(self.environment, self.settings, say)

    def running(self) -> bool:
        """Whether its process lives."""
        return services.running(self.environment, self.settings) is not None

    def desired(self) -> Desired | None:
        """What its file says."""
        return read_desired(self.settings.state(self.environment))

    def desire(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """Write the next generation of its file."""
        return services.desire(self.environment, wanted, self.settings, exact)

    def converge(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """Write it, and wait for every worker's acknowledgement."""
        return services.converge(self.environment, wanted, self.settings, exact=exact)

    def ready(self) -> bool:
        """Whether /readyz answers 200."""
        return services.ready(self.environment, self.settings)

    def intact(self, wanted: Mapping[str, DesiredModel]) -> bool:
        """Whether file and acknowledgements have the champions of `wanted`."""
        return services.intact(wanted, self.environment, self.settings)

    def metrics(self) -> tuple[str, ...]:
        """What it counts, its workers together."""
        return (read_metrics(self.url),)

    def lacking(self, wait_s: float = 15.0) -> str:
        """What it says in /status."""
        return services.what_is_lacking(self.environment, self.settings, wait_s)

    def stop(self) -> bool:
        """End its process."""
        return services.stop_service(self.environment, self.settings)
