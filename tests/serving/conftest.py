"""A service inside the test's own process: the real application over real models, without a socket."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from serving.features.completion import Completer
from serving.features.store import open_store
from serving.http.app import build_app
from serving.models.desired import Desired, DesiredModel, write_desired
from serving.models.versions import Versions
from serving.recording.metrics import Metrics
from serving.recording.mirror import MirroringLog
from serving.settings import Settings


class Client:
    """Speaks HTTP to an application in this process; an exception inside it becomes its answer."""

    def __init__(self, app: Starlette) -> None:
        """Keep the application."""
        self._app = app

    def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        """One request, each on an event loop of its own."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://service", trust_env=False
            ) as client:
                return await client.request(method, url, **arguments)

        return asyncio.run(send())

    def get(self, url: str) -> httpx.Response:
        """GET."""
        return self.request("GET", url)

    def post(self, url: str, body: Any, **headers: str) -> httpx.Response:
        """POST `body` as JSON."""
        return self.request("POST", url, json=body, headers=headers)


@dataclass
class Host:
    """The parts of a service, and a client of its application."""

    settings: Settings
    versions: Versions
    log: MirroringLog
    metrics: Metrics
    client: Client
    completer: Completer
    generation: int = 0
    wanted: dict[str, DesiredModel] = field(default_factory=dict)

    def serve(self, release: Any, version: str = "1", default: str | None = None) -> None:
        """Desire `release` beside what is desired already, and let the service act on it."""
        self.generation += 1
        name = release.contract.model
        self.wanted[name] = DesiredModel.of(version, str(release.path), release.digest)
        desired = Desired(
            generation=self.generation, default=default or next(iter(self.wanted)), models=self.wanted
        )
        self.settings.trust.write_bytes(release.trust_file.read_bytes())
        write_desired(self.settings.state, desired)
        self.versions.poll()


def _open(folder: Path, clock: str = "wall") -> Host:
    settings = Settings.from_environment(
        {
            "FLIGHTLINE_STATE": str(folder / "state"),
            "FLIGHTLINE_TRUST": str(folder / "trust.json"),
            "FLIGHTLINE_CLOCK": clock,
        }
    )
    settings.state.mkdir(parents=True)
    versions, metrics = Versions(settings), Metrics()

    def open_completer() -> Completer:
        return Completer(open_store(settings.online_store), cache_seconds=0)

    log = MirroringLog(settings.predictions, versions.worker, None, lambda: versions.current, open_completer)
    log.start()
    completer = open_completer()
    app = build_app(settings, versions, log, metrics, completer)
    return Host(settings, versions, log, metrics, Client(app), completer)


@pytest.fixture(scope="session")
def open_host() -> Callable[..., Host]:
    """A host in a folder, for fixtures that outlive one test; who opens it closes `log` and `versions`."""
    return _open


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Hosts that follow a state folder only when told to, closed at the end."""
    hosts: list[Host] = []

    def make(clock: str = "wall") -> Host:
        hosts.append(_open(tmp_path / f"host{len(hosts)}", clock))
        return hosts[-1]

    yield make
    for host in hosts:
        host.log.close()
        host.versions.close()
        host.completer.close()


@pytest.fixture
def host(make_host, make_bundle) -> Host:
    """A host with the model `toy`."""
    made = make_host()
    made.serve(make_bundle())
    return made
