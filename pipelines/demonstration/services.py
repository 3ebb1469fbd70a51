"""The demonstration's servers, started in the background while the models are being built."""

import os
import subprocess
import sys
from contextlib import suppress

from contract.errors import FlightlineError
from pipelines import local
from pipelines.machine.settings import Settings

WAIT_S = 180.0
# A replay dates its requests, in this world's production, too: that one must be named.
CLOCKS = {"FLIGHTLINE_CLOCK": "request", "FLIGHTLINE_PRODUCTION_CLOCK": "request"}


class Services:
    """`make up` as a process of its own, so that the build need not wait for it."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is started yet."""
        self.settings = settings
        self._starting: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin to start MLflow, staging and production."""
        environment = {
            **{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
            "FLIGHTLINE_VAR": str(self.settings.var),
            **CLOCKS,
        }
        self._starting = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local", "up", "--servers-only"],
            env=environment,
            cwd=self.settings.checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Return once all of them answer.

        Raises:
            FlightlineError: one of them did not start; the sentence is the starter's own.
        """
        if self._starting is None:
            return
        try:
            _, errors = self._starting.communicate(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            raise FlightlineError(
                f"the servers did not answer within {WAIT_S:.0f} s",
                "MLflow, staging and production on loopback",
                f"See the logs in {self.settings.logs}",
            ) from None
        if self._starting.returncode:
            last = (errors.strip().splitlines() or ["no reason was given"])[-1]
            raise FlightlineError(
                last.removeprefix("error: ").rstrip("."),
                "MLflow, staging and production",
                "Then run it again",
            )

    def stop(self) -> None:
        """Stop whatever runs, also what is only being started."""
        if self._starting is not None and self._starting.poll() is None:
            self._starting.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._starting.communicate(timeout=30)
        local.down(self.settings)
