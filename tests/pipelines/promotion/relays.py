"""A relay that a test runs in its own process, and what MLflow sends it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from contract.errors import FlightlineError
from pipelines.machine.settings import RELAY_PORT_VARIABLE, Settings
from pipelines.promotion.listening import listening
from pipelines.promotion.webhooks import ID, PATH, SIGNATURE, TIMESTAMP, Delivery, secret, signature
from pipelines.relay import Relay

DELIVERY = Delivery("11111111-2222", 1_700_000_000, "iris", "champion", "2")


class Ended(Exception):  # noqa: N818 - not an error: how a test ends the relay's loop
    """Leave the loop."""


class Probe:
    """A relay that listens, whose acting is recorded and may fail."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.acted, self.said = settings, [], []
        self.trouble: FlightlineError | None = None
        self.ending = False

    def try_it(self, delivery: Delivery) -> bool:
        """What the relay calls: `act`, until the test ends."""
        if self.ending:
            raise Ended
        return self.act(delivery)

    def act(self, delivery: Delivery) -> bool:
        """Keep the id of what was to be done, unless there is trouble."""
        if self.trouble:
            raise self.trouble
        self.acted.append(delivery.id)
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen and work, for the length of the block."""
        relay = Relay(self.settings, self.try_it, "", self.said.append)
        port = self.settings.relay_port

        def work() -> None:
            with suppress(Ended):
                relay.run()

        worker = threading.Thread(target=work, daemon=True)
        with listening(port, RELAY_PORT_VARIABLE, "the relay", relay.routes()):
            worker.start()
            try:
                yield
            finally:
                self.ending = True
                self.send(identity=f"the-last-one-of-{id(relay)}")
                worker.join(30)
                self.ending = False
                assert not worker.is_alive()

    def send(
        self, *, key: str = "", sent: float | None = None, identity: str = "11111111-2222", **headers: str
    ) -> httpx.Response:
        """A delivery, signed as MLflow signs."""
        data = {"name": "iris", "alias": "champion", "version": "2"}
        body = json.dumps({"entity": "model_version_alias", "action": "created", "data": data}).encode()
        when = str(int(time.time() if sent is None else sent))
        signed = signature(key or secret(self.settings), identity, when, body)
        given = {
            "Content-Type": "application/json",
            ID: identity,
            TIMESTAMP: when,
            SIGNATURE: signed,
            **headers,
        }
        return self.post(body, given)

    def post(self, body: bytes, headers: dict[str, str], path: str = PATH) -> httpx.Response:
        """Any request."""
        return httpx.post(
            f"http://127.0.0.1:{self.settings.relay_port}{path}",
            content=body,
            headers=headers,
            trust_env=False,
        )
