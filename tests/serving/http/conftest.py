"""The hot path and the application behind it, spoken to as a server speaks to them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.http.admission import Admission
from serving.http.app import build_app
from serving.http.hot import Hot
from serving.http.limits import Limits

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Heard:
    """One answer, as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(
    app: App,
    parts: Iterable[bytes],
    *,
    path: str = "/predict",
    query: str = "",
    headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),),
    method: str = "POST",
    ends: bool = True,
) -> Heard:
    """One request whose body comes in `parts`; where it does not end, the caller goes away."""
    left = list(parts) or [b""]
    heard = Heard()

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left) or not ends}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            heard.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            heard.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return heard


@dataclass
class Both:
    """The two ways of one service."""

    host: Any
    hot: Hot
    slow: App
    passed_on: list[str]  # the paths of requests that the hot path did not answer

    def send(self, parts: Iterable[bytes], **arguments: Any) -> Awaitable[Heard]:
        """One request to the hot path, to be awaited beside others."""
        return ask(self.hot, parts, **arguments)

    def ask(self, parts: Iterable[bytes], **arguments: Any) -> tuple[Heard, Heard, bool]:
        """What the hot path heard, what the other heard, and whether the hot path answered it itself."""
        parts = list(parts)
        before = len(self.passed_on)
        hot = asyncio.run(ask(self.hot, parts, **arguments))
        by_itself = len(self.passed_on) == before
        return hot, asyncio.run(ask(self.slow, parts, **arguments)), by_itself


@pytest.fixture
def in_front() -> Iterator[Callable[..., Both]]:
    """Puts a hot path in front of a host's application; closed at the end."""
    made: list[Hot] = []

    def make(host: Any, limits: Limits | None = None) -> Both:
        limits = limits or Limits()
        admission = Admission(limits.requests, limits.rows)  # one, as in the service
        slow = build_app(
            host.settings, host.versions, host.log, host.metrics, host.completer, admission=admission
        )
        passed_on: list[str] = []

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            passed_on.append(scope["path"])
            await slow(scope, receive, send)

        made.append(
            Hot(
                watched,
                host.settings,
                host.versions,
                host.log,
                host.metrics,
                limits=limits,
                admission=admission,
            )
        )
        return Both(host, made[-1], slow, passed_on)

    yield make
    for hot in made:
        hot.close()


@pytest.fixture
def both(host, in_front) -> Both:
    """Both ways to the model `toy`."""
    return in_front(host)


@pytest.fixture
def in_tasks(both, monkeypatch) -> Iterator[list[str]]:
    """The paths of requests that came to the hot path as ASGI calls."""
    seen: list[str] = []
    real = type(both.hot).__call__

    async def watched(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await real(self, scope, receive, send)

    monkeypatch.setattr(type(both.hot), "__call__", watched)
    return seen
