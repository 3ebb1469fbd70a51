"""What the demonstration looks at while something is broken on purpose."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from contract.bundle import Bundle
from contract.errors import FlightlineError
from pipelines import local
from pipelines.delivery.champion import PRODUCTION, champion
from pipelines.delivery.registry import STAGING
from pipelines.machine.environments import port_variable
from pipelines.machine.ports import require_free
from pipelines.machine.settings import MLFLOW_PORT_VARIABLE, Settings

TIMEOUT_S = 10.0
MARK = "made-by-the-demonstration"


def fresh_world(settings: Settings) -> None:
    """Empty the demonstration's folder, after stopping what an interrupted demonstration left in it.

    Raises:
        FlightlineError: the folder holds something that no demonstration made, or a port is taken.
    """
    mark = settings.var / MARK
    if settings.var.exists() and any(settings.var.iterdir()) and not mark.is_file():
        raise FlightlineError(
            f"{settings.var} holds files that no demonstration made",
            "an empty folder, or one of an earlier demonstration",
            "Move it away, or set FLIGHTLINE_VAR to another place",
        )
    local.down(settings, lambda _: None)
    # Before anything is deleted or built: the usual obstacle is one's own `make up`.
    require_free(settings.mlflow_port, "MLflow", MLFLOW_PORT_VARIABLE)
    for name in (STAGING, PRODUCTION):
        require_free(settings.environment(name).port, name, port_variable(name))
    shutil.rmtree(settings.var, ignore_errors=True)
    settings.var.mkdir(parents=True)
    mark.write_text("Made by `make demo` and emptied by the next one.\n", "utf-8")


class Probe:
    """Asks production the same question before and after, so that a change cannot go unseen."""

    def __init__(self, settings: Settings, model: str) -> None:
        """Ask for the first time: a golden row of what is live.

        Raises:
            FlightlineError: nothing is live.
        """
        self._url = f"{settings.service_url(PRODUCTION)}/predict"
        self._model = model
        self._row = live_release(settings, model).golden.rows[0].row
        self._before = self._ask()

    def must_be_unchanged(self) -> None:
        """Ask again.

        Raises:
            FlightlineError: version, digest or answer is another one.
        """
        now = self._ask()
        if now != self._before:
            raise FlightlineError(f"production now answers {now}", str(self._before), "Roll back")

    def _ask(self) -> dict[str, object]:
        answer = httpx.post(
            self._url,
            params={"model": self._model},
            json={"row": self._row},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        answer.raise_for_status()
        return {key: value for key, value in answer.json().items() if key != "request_id"}


def live_release(settings: Settings, model: str) -> Bundle:
    """The verified bundle that production serves.

    Raises:
        FlightlineError: it serves none.
    """
    bundle = champion(model, settings)
    if bundle is None:
        raise FlightlineError(f"no {model} serves", "a model in production", "Promote one first")
    return bundle


@contextmanager
def tampered(settings: Settings, model: str) -> Iterator[None]:
    """One bit of the kept release's graph is flipped inside the block, and back after it."""
    graph = live_release(settings, model).path / "model.onnx"
    whole = graph.read_bytes()
    middle = len(whole) // 2
    graph.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    try:
        yield
    finally:
        graph.write_bytes(whole)
