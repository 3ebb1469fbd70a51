"""Everything that `make up` starts, and a person who moves aliases in MLflow."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pipelines import ledger
from pipelines.delivery.registry import Version
from pipelines.local import down, up
from pipelines.machine.processes import find
from pipelines.machine.settings import Settings
from pipelines.promotion.webhooks import ID, PATH, SIGNATURE, TIMESTAMP, secret, signature
from tests.conftest import toy_contract, toy_graph
from tests.pipelines.delivery.conftest import World, quiet, settings_in
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.conftest import witness

MODEL = "iris"
SOON_S = (
    60.0  # for a condition that a loaded machine meets, too; how fast a click is stands in test_browser.py
)


@dataclass
class Clicks(World):
    """Everything that `make up` starts, and a person who moves aliases."""

    made: int = 0

    def staged(self) -> Version:
        """The next version that may be promoted."""
        version = self.registered()
        witness(self.registry, version, self.settings)
        return version

    def registered(self) -> Version:
        """The next version, unknown to staging. It answers as the others do, or a rollout would end."""
        self.made += 1
        graph = toy_graph(toy_contract(MODEL), 0)
        return self.registry.by_number(MODEL, self.register(MODEL, self.made, graph=graph).version)

    @property
    def live(self) -> str:
        """The version that the ledger says is live."""
        placed = ledger.live(ledger.read(self.settings.ledger), "production", MODEL)
        return placed.version if placed else ""

    def agrees(self, version: str) -> bool:
        """Whether alias, ledger and service all mean `version`, and its digest answers."""
        return (self.live, self.champion(MODEL), self.serves("production", MODEL)) == (version,) * 3

    def count(self) -> int:
        """The lines of the ledger about production."""
        return sum(entry.environment == "production" for entry in ledger.read(self.settings.ledger))

    def kill(self, name: str) -> None:
        """`kill -9`."""
        running = find(self.settings.processes, name)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        assert eventually(lambda: find(self.settings.processes, name) is None)

    def up(self) -> None:
        """`make up` starts what does not run."""
        up(self.settings, quiet, promotions=True)

    def database(self, statement: str, *values: str) -> None:
        """What somebody does who goes round the server and its guard."""
        with closing(sqlite3.connect(self.settings.mlflow_database, timeout=10)) as connection, connection:
            connection.execute(statement, values)

    def deliver(self, *, key: str = "", identity: str = "", version: str = "1") -> httpx.Response:
        """A webhook, signed as MLflow signs unless `key` is another one."""
        event = {
            "entity": "model_version_alias",
            "action": "created",
            "data": {"name": MODEL, "alias": "champion", "version": version},
        }
        body, when = json.dumps(event).encode(), str(int(time.time()))
        identity = identity or f"by-hand-{time.time_ns()}"
        signed = signature(key or secret(self.settings), identity, when, body)
        headers = {"Content-Type": "application/json", ID: identity, TIMESTAMP: when, SIGNATURE: signed}
        address = f"http://127.0.0.1:{self.settings.relay_port}{PATH}"
        return httpx.post(address, content=body, headers=headers, trust_env=False)

    def pending(self) -> int:
        """How many deliveries the relay has not acted on."""
        address = f"http://127.0.0.1:{self.settings.relay_port}/livez"
        return int(httpx.get(address, trust_env=False).json()["pending"])


@contextmanager
def clicking(folder: Path) -> Iterator[Clicks]:
    """MLflow, services, relay and reconciler in `folder`, for the length of the block."""
    if not Settings.from_environment({}).serving_python.exists():
        pytest.skip("THE SERVING ENVIRONMENT IS MISSING (.venv-serving): run `make setup`")
    settings = settings_in(folder / "var")
    try:
        up(settings, quiet, promotions=True)
        yield Clicks(settings, folder)
    finally:
        down(settings, quiet)
