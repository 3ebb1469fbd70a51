"""The real application in this process, behind a transport that can spoil its answers."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from contract.attestation import Trust
from contract.bundle import Bundle, open_bundle
from serving.models.predictor import Predictor
from tests.conftest import Release
from tests.serving.conftest import _open

# What the server around the application answers by itself.
BESIDE = {"/readyz": "", "/metrics": "# TYPE requests counter\n"}

Spoil = Callable[[httpx.Request, httpx.Response], httpx.Response]


@dataclass
class Service(httpx.BaseTransport):
    """Requests go to the application; `spoil` may change what comes back. `asked` counts paths."""

    app: Starlette
    release: Release
    trust: Trust
    version: str = "1"
    spoil: Spoil = field(default=lambda _, response: response)
    asked: list[str] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, on an event loop of its own."""
        self.asked.append(request.url.path)
        content, headers = request.read(), dict(request.headers)

        async def send() -> httpx.Response:
            inner = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=inner, trust_env=False) as client:
                return await client.request(request.method, request.url, content=content, headers=headers)

        beside = BESIDE.get(request.url.path)
        found = asyncio.run(send()) if beside is None else httpx.Response(200, text=beside)
        whole = httpx.Response(found.status_code, headers=found.headers, content=found.content)
        return self.spoil(request, whole)

    @property
    def bundle(self) -> Bundle:
        """What it serves."""
        return open_bundle(self.release.bundle)

    @property
    def predictor(self) -> Predictor:
        """What it serves, as the batch scorer loads it."""
        return Predictor.load(self.release.path, self.release.digest, self.version, self.trust)

    @property
    def client(self) -> httpx.Client:
        """Speaks to it."""
        return httpx.Client(base_url="http://toy", transport=self)


def changed(response: httpx.Response, change: Callable[[Any], object]) -> httpx.Response:
    """`response` after `change` was made to its JSON."""
    body = response.json()
    change(body)
    return httpx.Response(response.status_code, content=json.dumps(body))


@pytest.fixture(scope="session")
def _application(
    tmp_path_factory: pytest.TempPathFactory, build_release: Callable[..., Release]
) -> Iterator[tuple[Starlette, Release]]:
    folder = tmp_path_factory.mktemp("staging")
    host = _open(folder / "host")
    release = build_release(folder / "release")
    host.serve(release)
    yield host.client._app, release
    host.log.close()
    host.versions.close()
    host.completer.close()


@pytest.fixture
def service(_application: tuple[Starlette, Release]) -> Service:
    """An honest service of the model `toy`."""
    app, release = _application
    return Service(app, release, release.trust)
