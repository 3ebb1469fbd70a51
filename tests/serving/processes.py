"""A service process that a test starts, changes, stops and starts again, and what is said to it in bytes."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serving.models.desired import Desired, DesiredModel, read_acks, write_desired
from tests.serving.real import PYTHON, ROOT, START_SECONDS, free_port, until

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


@dataclass
class Process:
    """A service process with its folders."""

    folder: Path
    port: int
    build: Any
    command: list[str] = field(default_factory=list)
    popen: Any = None
    client: Any = None
    generation: int = 0
    releases: list[Any] = field(default_factory=list)

    def release(self, **arguments: Any) -> Any:
        """A new release, signed by the key of the first."""
        key = {"key": self.releases[0].key} if self.releases else {}
        path = self.folder / "releases" / str(len(self.releases))
        self.releases.append(self.build(path, **key, **arguments))
        return self.releases[-1]

    def desire(self, release: Any, version: str) -> int:
        """Desire `release` alone; the generation."""
        self.generation += 1
        model = DesiredModel.of(version, str(release.path), release.digest)
        desired = Desired(generation=self.generation, default="toy", models={"toy": model})
        write_desired(self.folder / "state", desired)
        return self.generation

    def acknowledged(self, generation: int) -> Any:
        """The worker's acknowledgement, once it is of `generation`."""
        return until(
            lambda: next(
                (a for a in read_acks(self.folder / "state").values() if a.generation == generation), None
            )
        )

    def start(self, wait_for: str = "/readyz") -> None:
        """Start and wait until `wait_for` is answered with 200."""
        environment = {
            **os.environ,
            "FLIGHTLINE_STATE": str(self.folder / "state"),
            "FLIGHTLINE_TRUST": str(self.folder / "releases" / "trust.json"),
            "FLIGHTLINE_PREDICTIONS": str(self.folder / "predictions"),
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        with (self.folder / "output.txt").open("ab") as output:
            self.popen = subprocess.Popen(
                [str(PYTHON), "-m", *self.command, "--port", str(self.port), "--host", "127.0.0.1"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if self.client is not None:
            self.client.close()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        until(lambda: self.popen.poll() is not None or self.status(wait_for) == 200, START_SECONDS)
        assert self.popen.poll() is None, (self.folder / "output.txt").read_text()

    def status(self, path: str) -> int:
        """The HTTP status of a GET; 0 while nobody listens."""
        try:
            return int(self.client.get(path).status_code)
        except httpx.TransportError:
            return 0

    def predict(self) -> Any:
        """One prediction."""
        return self.client.post("/predict", json={"row": ROW})

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.client.close()
        self.popen.terminate()
        return int(self.popen.wait(60))


@contextmanager
def ended(process: Process) -> Iterator[None]:
    """Whatever the block does with `process`, it is stopped in the end."""
    try:
        yield
    finally:
        if process.popen is not None and process.popen.poll() is None:
            process.stop()
        if process.client is not None:
            process.client.close()


def started(folder: Path, build: Any, command: list[str]) -> Iterator[Process]:
    """A running service with one model, stopped at the end."""
    process = Process(folder=folder, port=free_port(), build=build, command=command)
    process.desire(process.release(), "1")
    with ended(process):
        process.start()
        yield process


def head_of(body: bytes) -> bytes:
    """What goes before `body` in a prediction, for a caller who sends the rest later."""
    lines = (
        b"POST /predict HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def listens(port: int) -> bool:
    """Whether somebody accepts there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
