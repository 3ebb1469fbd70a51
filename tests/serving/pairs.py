"""A service of some workers, and its admin API, for tests that change what it serves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from serving.admin.server import ADDRESS
from serving.admin.token import read_token
from serving.models.desired import read_acks
from serving.models.workers import live_workers
from tests.serving.processes import ROW, Process, ended
from tests.serving.real import free_port, until

TWO = ["serving", "--workers", "2", "--admin-port", "0"]


class Pair(Process):
    """A service with some workers, two unless told otherwise, and an admin API."""

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def workers(self, number: int = 2) -> list[int]:
        """All, once all have acknowledged a state."""

        def all_of_them() -> list[int]:
            found = sorted(read_acks(self.state).keys() & live_workers(self.state))
            return [int(worker) for worker in found] if len(found) == number else []

        return until(all_of_them, 60)

    def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One call of the admin API."""
        number = json.loads((self.state / ADDRESS).read_bytes())["port"]
        headers = {"Authorization": f"Bearer {read_token(self.state)}"}
        with httpx.Client(timeout=90, trust_env=False, headers=headers) as client:
            wait = {} if method == "GET" else {"wait": 60}
            return client.request(method, f"http://127.0.0.1:{number}{path}", json=body, params=wait)

    def load(self, version: str, release: Any) -> httpx.Response:
        """Load `release` as `version`."""
        return self.admin(
            "PUT",
            f"/models/toy/versions/{version}",
            {"release": str(release.path), "digest": release.digest},
        )

    def ask(self, version: str = "") -> httpx.Response:
        """One prediction on a connection of its own, so that any worker may take it."""
        query = f"?version={version}" if version else ""
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20) as client:
            return client.post(f"/predict{query}", json={"row": ROW})


def pair(folder: Path, build: Any, command: list[str], workers: int = 2) -> Iterator[Pair]:
    """A running service with version 1, stopped at the end."""
    process = Pair(folder=folder, port=free_port(), build=build, command=command)
    process.desire(process.release(), "1")
    with ended(process):
        process.start()
        process.workers(workers)
        yield process
