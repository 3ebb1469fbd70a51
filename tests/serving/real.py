"""A service as it really runs, in a process of its own, for suites that try to break it."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from serving.models.desired import Desired, DesiredModel, write_desired

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving" / "bin" / "python"
START_SECONDS = 90  # four alone on a machine, far more beside a busy test suite


def until(condition: Callable[[], T], seconds: float = 20, what: str = "it") -> T:
    """The first true value of `condition`, waited for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} is not so after {seconds} s"
        threading.Event().wait(0.02)
    return value


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Real:
    """A running service."""

    folder: Path
    port: int
    popen: subprocess.Popen[bytes]
    client: httpx.Client = field(repr=False)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def status(self, path: str = "/readyz") -> int:
        """The HTTP status of a GET on a connection of its own; 0 while nobody answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def connect(self) -> socket.socket:
        """A raw connection; whoever asks too long fails."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def resident(self) -> int:
        """Bytes of memory that are its own: resident and not shared with a file."""
        words = Path(f"/proc/{self.popen.pid}/statm").read_text().split()
        return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(
    folder: Path,
    releases: Sequence[Any],
    *,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    command: Sequence[str] = ("-m", "serving"),
) -> Iterator[Real]:
    """A service with `releases`, the first of them by default; stopped, or killed, at the end."""
    models = {
        release.contract.model: DesiredModel.of("1", str(release.path), release.digest)
        for release in releases
    }
    desired = Desired(generation=1, default=releases[0].contract.model, models=models)
    (folder / "state").mkdir(parents=True, exist_ok=True)
    write_desired(folder / "state", desired)
    port = free_port()
    own = {key: value for key, value in os.environ.items() if not key.startswith("FLIGHTLINE_")}
    own |= {
        "FLIGHTLINE_STATE": str(folder / "state"),
        "FLIGHTLINE_TRUST": str(releases[0].trust_file),
        "FLIGHTLINE_PREDICTIONS": str(folder / "predictions"),
        **(environment or {}),
    }
    with (folder / "output.txt").open("wb") as output:
        popen = subprocess.Popen(
            [str(PYTHON), *command, "--port", str(port), "--host", "127.0.0.1", *arguments],
            cwd=ROOT,
            env=own,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
    real = Real(folder, port, popen, client)
    try:
        until(lambda: popen.poll() is not None or real.status() == 200, START_SECONDS, "a ready service")
        assert popen.poll() is None, real.output
        yield real
    finally:
        client.close()
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            try:
                popen.wait(60)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait(20)
