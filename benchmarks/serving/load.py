"""One core serves and another asks: starting contenders, and wrk's figures about them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from benchmarks.serving.contenders import ROOT, Contender, Place, environment
from contract.errors import FlightlineError

SCRIPT = Path(__file__).with_name("load.lua")
START_SECONDS = 120
STOP_SECONDS = 30
LOG_SECONDS = 60


class Sample(msgspec.Struct, frozen=True):
    """What wrk found out in one run."""

    requests: int
    microseconds: int
    failed: int  # answered with 4xx or 5xx
    broken: int  # not answered
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int
    cpu_us: float = 0.0  # of the server's processes, a request: what contention for a core does not change

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.microseconds * 1e6


@dataclass(frozen=True)
class Cores:
    """One for the server and one for the load."""

    server: str  # as taskset takes it: where a server may use several, they have commas between them
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first two that this process may use.

        Raises:
            FlightlineError: there are none, or the tools are missing.
        """
        for tool in ("wrk", "taskset"):
            if shutil.which(tool) is None:
                raise FlightlineError(f"there is no {tool}", "it on the PATH", f"Run: apt-get install {tool}")
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:  # noqa: PLR2004 - one for each side
            raise FlightlineError("there is one core", "two: one serves, one asks", "Use a larger machine")
        return cls(str(cores[0]), cores[1])


@dataclass(frozen=True)
class Server:
    """A started contender."""

    address: str
    pid: int
    cores: Cores

    def cpu_seconds(self) -> float:
        """CPU time so far, of its supervisor and workers, too."""
        first = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (first, *first.children(recursive=True))]
        return float(sum(time.user + time.system for time in times))


@dataclass(frozen=True)
class Started:
    """A contender's process, which may not answer yet."""

    server: Server
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    began: float  # time.perf_counter()

    def check(self) -> None:
        """Go on waiting for it.

        Raises:
            FlightlineError: it has ended, or takes too long.
        """
        if self.process.poll() is not None or time.perf_counter() - self.began > START_SECONDS:
            raise FlightlineError(
                f"{self.name} did not start", "a server", f"See: {self.log.read_text()[-2000:]}"
            )


@contextlib.contextmanager
def started(contender: Contender, place: Place, cores: Cores) -> "Iterator[Started]":
    """`contender`, from the moment in which its process starts, and stopped at the end."""
    port = free_port()
    place.work.mkdir(parents=True, exist_ok=True)
    command = [str(contender.python), *contender.command(place, port)]
    log = place.work / "output.txt"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", cores.server, *command],
            cwd=ROOT,
            env={**environment(place), **contender.variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group, so that a supervisor's workers end with it
        )
    try:
        server = Server(f"http://127.0.0.1:{port}", process.pid, cores)
        yield Started(server, contender.name, process, log, began)
    finally:
        _stop(process)


@contextlib.contextmanager
def running(contender: Contender, place: Place, cores: Cores) -> Iterator[Server]:
    """`contender`, started on its core and stopped at the end.

    Raises:
        FlightlineError: it does not become ready.
    """
    with started(contender, place, cores) as one:
        while not _answers(one.server.address + contender.ready):
            one.check()
            time.sleep(0.1)
        yield one.server


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, body: bytes) -> bytes:
    """The answer to one request.

    Raises:
        FlightlineError: it is none.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return bytes(answer.read())
    except urllib.error.URLError as error:
        raise FlightlineError(f"{url} failed: {error}", "an answer", "See the contender's output") from error


def logged(server: Server) -> int:
    """Wait until the service's prediction log has caught up; how many rows it had no room for so far.

    Raises:
        FlightlineError: it does not.
    """
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        with urllib.request.urlopen(f"{server.address}/status", timeout=30) as answer:  # noqa: S310 - ours
            log = msgspec.json.decode(answer.read())["prediction_log"]
        if not log["waiting"]:
            return int(log["dropped"])
        if time.monotonic() > deadline:
            raise FlightlineError(f"{log['waiting']} predictions are not logged", "none", "Look at the disk")
        time.sleep(0.05)


def measure(server: Server, route: str, bodies: Path, concurrency: int, seconds: float) -> Sample:
    """One run of wrk at `route` over `bodies`, a file with one a line.

    Raises:
        FlightlineError: wrk failed.
    """
    words = ["taskset", "--cpu-list", str(server.cores.load), "wrk", "--threads", "1"]
    words += ["--connections", str(concurrency), "--duration", f"{seconds:g}s", "--timeout", "10s"]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*words, "--script", str(SCRIPT), server.address + route, "--", str(bodies)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise FlightlineError(f"wrk failed: {done.stderr.strip()[:200]}", "figures", "Run it by hand")
    sample = msgspec.json.decode(lines[-1], type=Sample)
    cpu = (server.cpu_seconds() - before) / max(sample.requests, 1)
    return msgspec.structs.replace(sample, cpu_us=cpu * 1e6)


def write_bodies(path: Path, bodies: Sequence[bytes]) -> Path:
    """The file that `measure` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(bodies) + b"\n")
    return path


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
            return int(answer.status) < 300  # noqa: PLR2004 - HTTP's own
    except OSError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End it, and then whatever it has started: a supervisor may end without its workers."""
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # killed with its group
    finally:  # of a second interrupt, too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
