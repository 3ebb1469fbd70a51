"""Online stores for tests: an SQLite file, and a real Redis on a port of its own."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from serving.features.store import Store, open_store
from tests.plugins.require import find

START_S = 20.0
# A process-free test is one of the quick ones; Redis is a process.
BACKENDS = (pytest.param("sqlite", marks=pytest.mark.unit), pytest.param("redis", marks=pytest.mark.redis))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that keeps nothing on the disk; stopped at the end of the session."""
    command = find("redis")
    folder = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen([command, *options], cwd=folder, stdout=log, stderr=log)
    try:
        with redis.Redis(port=port, socket_timeout=5) as client:
            deadline = time.monotonic() + START_S
            while not _answers(client):
                assert server.poll() is None, (folder / "log.txt").read_text()
                assert time.monotonic() < deadline, "redis-server did not start"
                threading.Event().wait(0.02)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(START_S)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def store_address(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The address of an empty store of a kind."""

    def address(kind: str) -> str:
        if kind == "sqlite":
            return str(tmp_path / "online" / "store.db")
        found: str = request.getfixturevalue("redis_server")
        with redis.Redis.from_url(found) as client:
            client.flushall()
        return found

    return address


@pytest.fixture
def open_stores(store_address: Callable[[str], str]) -> Iterator[Callable[[str], Store]]:
    """Stores of one kind over the same, at first empty, state; closed at the end."""
    opened: list[Store] = []
    addresses: dict[str, str] = {}

    def opener(kind: str) -> Store:
        if kind not in addresses:
            addresses[kind] = store_address(kind)
        opened.append(open_store(addresses[kind]))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()
