"""Processes that outlive the command that starts them: start, wait until they answer, stop by identity."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psutil

from contract.errors import FlightlineError
from contract.strict import decode_json, encode_json
from pipelines.machine.files import replace
from pipelines.machine.ports import require_free

Say = Callable[[str], None]

POLL_S = 0.1
GRACE_S = 20.0  # a server may finish the requests it has in hand
HTTP_OK = 200


@dataclass(frozen=True)
class Program:
    """What to start, and how to know that it answers."""

    name: str
    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]  # on top of our own environment
    port: int
    port_variable: str  # the environment variable that moves the port
    ready_path: str  # answers 200 once the program can be used
    setup: str = ""  # settings that cannot change while it runs, to notice that they did


class Running(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A started program: its process is ours only while both pid and creation time match."""

    name: str
    pid: int
    created: float  # seconds since the epoch, as the kernel has it
    port: int
    setup: str
    log: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def find(folder: Path, name: str) -> Running | None:
    """The running program `name` whose pid file is in `folder`, or None; a stale pid file is removed."""
    path = _pid_file(folder, name)
    try:
        running = decode_json(path.read_bytes(), Running, path.name)
    except FileNotFoundError:
        return None
    if _process(running) is None:
        path.unlink(missing_ok=True)
        return None
    return running


def start_all(
    programs: Sequence[Program], folder: Path, logs: Path, say: Say = print, deadline_s: float = 120.0
) -> list[Running]:
    """Start those `programs` that do not run yet, side by side, and wait until each answers.

    When one fails, or the wait is interrupted, those started here are stopped again.

    Raises:
        FlightlineError: a port is taken, a program ended or did not answer in time, or runs with another
            setup than asked for.
    """
    _require_different_ports(programs)
    found: list[Running] = []
    started: list[Running] = []
    try:
        for program in programs:
            running = find(folder, program.name)
            if running is None:
                require_free(program.port, program.name, program.port_variable)
                running = _launch(program, folder, logs)
                started.append(running)
            _require_same(program, running)
            found.append(running)
        for program, running in zip(programs, found, strict=True):
            _await(program, running, say, deadline_s)
    except BaseException:  # Ctrl-C too: nothing that was started here stays behind
        for running in started:
            stop(folder, running.name)
        raise
    return found


def stop(folder: Path, name: str, grace_s: float = GRACE_S) -> bool:
    """End the program `name` and its children: politely, then by force. False when it did not run."""
    running = find(folder, name)
    process = _process(running) if running else None
    if process is not None:
        family = [process]
        with suppress(psutil.NoSuchProcess):  # it may end by itself between two lines
            family += process.children(recursive=True)
            process.terminate()
        for member in _outlasting(family, grace_s):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        _outlasting(family, 5)
    _pid_file(folder, name).unlink(missing_ok=True)
    return process is not None


def _require_different_ports(programs: Sequence[Program]) -> None:
    by_port: dict[int, Program] = {}
    for program in programs:
        other = by_port.setdefault(program.port, program)
        if other is not program:
            raise FlightlineError(
                f"{other.name} and {program.name} are both to listen on port {program.port}",
                "a port for each",
                f"Change {other.port_variable} or {program.port_variable}",
            )


def _require_same(program: Program, running: Running) -> None:
    if (running.port, running.setup) != (program.port, program.setup):
        raise FlightlineError(
            f"{program.name} already runs on port {running.port} {running.setup}".rstrip(),
            f"port {program.port} {program.setup}".rstrip(),
            "Stop it first with `make down`",
        )


def _launch(program: Program, folder: Path, logs: Path) -> Running:
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{program.name}.log"
    with log.open("wb") as output:
        try:
            child = subprocess.Popen(
                list(program.command),
                cwd=program.cwd,
                env={**os.environ, **program.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in our terminal is not for it
            )
        except OSError as error:
            raise FlightlineError(
                f"{program.command[0]} cannot be started ({error.strerror})",
                f"the interpreter that runs {program.name}",
                "Run `make setup`",
            ) from None
    try:
        running = Running(
            name=program.name,
            pid=child.pid,
            created=psutil.Process(child.pid).create_time(),
            port=program.port,
            setup=program.setup,
            log=str(log),
        )
        replace(_pid_file(folder, program.name), encode_json(running))
    except BaseException:  # Ctrl-C too: a child without a pid file would be nobody's
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    child.returncode = 0  # it is not ours to wait for: silences the warning about a running child
    return running


def _await(program: Program, running: Running, say: Say, deadline_s: float) -> None:
    begun = time.monotonic()
    told = begun
    # The first answer of a fresh MLflow makes its database, which takes seconds.
    with httpx.Client(base_url=running.url, timeout=30.0, trust_env=False) as client:
        while time.monotonic() - begun < deadline_s:
            if _answers(client, program.ready_path):
                return
            if _process(running) is None:
                raise FlightlineError(
                    f"{program.name} ended while starting: {_last_line(running)}",
                    "it to answer",
                    f"Read {running.log}",
                )
            if time.monotonic() - told > 5:  # noqa: PLR2004 - seconds between two signs of life
                told = time.monotonic()
                say(f"{program.name}: still starting after {told - begun:.0f} s")
            threading.Event().wait(POLL_S)
    raise FlightlineError(
        f"{program.name} did not answer within {deadline_s:.0f} s: {_last_line(running)}",
        f"200 from {running.url}{program.ready_path}",
        f"Read {running.log}",
    )


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == HTTP_OK
    except httpx.TransportError:
        return False


def alive(pid: int) -> bool:
    """Whether process `pid` exists and can still do something."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(running: Running) -> frozenset[int]:
    """The pids of a running program and of what it started; empty when its pid is somebody else's now."""
    process = _process(running)
    if process is None:
        return frozenset()
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):  # it may end between two lines
        children = process.children(recursive=True)  # psutil compares creation times with the parent's
    return frozenset({running.pid, *(child.pid for child in children if alive(child.pid))})


def _process(running: Running) -> psutil.Process | None:
    """The live process behind `running`, unless its pid now belongs to somebody else."""
    try:
        process = psutil.Process(running.pid)
        same = abs(process.create_time() - running.created) < 1.0
    except psutil.NoSuchProcess:
        return None
    return process if same and alive(running.pid) else None


def _outlasting(family: Sequence[psutil.Process], wait_s: float) -> list[psutil.Process]:
    """Those of `family` that are still alive after `wait_s` seconds.

    Not psutil's own wait: in a container whose first process does not reap, an ended process stays visible.
    """
    deadline = time.monotonic() + wait_s
    while True:
        left = [process for process in family if process.is_running() and alive(process.pid)]
        if not left or time.monotonic() > deadline:
            return left
        threading.Event().wait(0.02)


def _last_line(running: Running) -> str:
    try:
        lines = Path(running.log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "its log cannot be read"
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _pid_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
