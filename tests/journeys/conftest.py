"""A world of its own for each journey: its own ports, its own `var`, and nothing left when it ends."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SERVERS = ("MLFLOW", "STAGING", "PRODUCTION", "RELAY", "RECONCILER")
PORTS = tuple(f"FLIGHTLINE_{name}_PORT" for name in SERVERS)


@dataclass
class World:
    """Variables of the environment for commands, and the processes that were started with them."""

    var: Path
    variables: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
        """Start a command in a session of its own, as a terminal would."""
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, cwd: Path = ROOT, seconds: float = 500) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it printed."""
        process = self.start(*words, cwd=cwd)
        printed, _ = process.communicate(timeout=seconds)
        return process.returncode, printed

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Ctrl-C: the whole foreground group gets it."""
        os.killpg(process.pid, signal.SIGINT)

    def left(self) -> list[str]:
        """Command lines of processes that live in this world."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("FLIGHTLINE_JOURNEY") == self.variables["FLIGHTLINE_JOURNEY"]:
                    found.append(" ".join(process.cmdline()))
        return found


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds:.0f} s")
        threading.Event().wait(0.05)


def free_ports() -> dict[str, str]:
    """A port that nobody listens on for each server, all different."""
    sockets = [socket.socket() for _ in PORTS]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: str(one.getsockname()[1]) for name, one in zip(PORTS, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """A world in `folder` whose every process is gone after the block."""
    variables = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLIGHTLINE_", "MLFLOW_"))
        },
        **free_ports(),
        "FLIGHTLINE_VAR": str(folder / "var"),
        "FLIGHTLINE_JOURNEY": str(folder),
        "OMP_WAIT_POLICY": "PASSIVE",
        "DVC_NO_ANALYTICS": "1",
    }
    made = World(folder / "var", variables)
    try:
        yield made
    finally:
        end(made)


def end(made: World) -> None:
    """Kill whatever lives in a world."""
    for process in made.started:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("FLIGHTLINE_JOURNEY") == made.variables["FLIGHTLINE_JOURNEY"]:
                process.kill()
    subprocess.run(["git", "-C", str(ROOT), "worktree", "prune"], check=True, capture_output=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose every process is gone after the test."""
    with world_in(tmp_path) as made:
        yield made
