"""What a deployment needs of the place where an environment's models run, and nothing more."""

from collections.abc import Collection, Mapping
from typing import Protocol

from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from serving.models.desired import Desired, DesiredModel


class Backend(Protocol):
    """One environment, wherever it is. Its releases are named as they lie on this machine."""

    @property
    def url(self) -> str:
        """Where it answers, as seen from here."""

    def ensure(self, say: Say = print) -> None:
        """Have it run what is desired, unless it does.

        Raises:
            FlightlineError: it cannot be started.
        """

    def running(self) -> bool:
        """Whether it was started and not stopped."""

    def desired(self) -> Desired | None:
        """What it should serve; None where nothing was ever desired."""

    def desire(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """Write the next generation of what it should serve, and return its number.

        A model whose champion stays keeps its other versions, its split and its mirror, unless it is one of
        `exact`.
        """

    def converge(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """`desire`, and wait until all of it serves that.

        Raises:
            FlightlineError: a model was refused, with the sentence, or it did not come up in time.
        """

    def ready(self) -> bool:
        """Whether it says that it can answer."""

    def intact(self, wanted: Mapping[str, DesiredModel]) -> bool:
        """Whether what is desired and all that answers have the champions of `wanted`."""

    def metrics(self) -> tuple[str, ...]:
        """What each process that answers counts, as Prometheus text.

        Raises:
            FlightlineError: one of them does not say.
        """

    def lacking(self, wait_s: float = 15.0) -> str:
        """Why it cannot answer for what is desired of it; empty when it can."""

    def stop(self) -> bool:
        """Stop it if it runs; requests in hand are finished."""


def backend(environment: str, settings: Settings) -> Backend:
    """The backend that `infra/environments.yaml` or a variable gives `environment`."""
    if settings.environment(environment).backend == "kubernetes":
        from pipelines.delivery.kubernetes.backend import KubernetesBackend

        return KubernetesBackend.of(environment, settings)
    from pipelines.delivery.local_backend import LocalBackend

    return LocalBackend(environment, settings)
