"""Started programs answer, are found again, and are gone when they should be."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from contract.errors import FlightlineError
from contract.strict import encode_json
from pipelines.machine.processes import Program, Running, alive, find, start_all, stop
from tests.pipelines.delivery.conftest import free_ports

SERVER = (
    "import http.server, sys\n"
    "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"
    ".serve_forever()\n"
)
STUBBORN = (
    "import signal, subprocess, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for pid files and logs; whatever a test left running is ended and reported."""
    yield tmp_path
    left = [path.stem for path in tmp_path.glob("*.json") if stop(tmp_path, path.stem, grace_s=1)]
    assert not left


def program(place: Path, code: str = SERVER, *, name: str = "toy", port: int = 0, setup: str = "") -> Program:
    """A program that serves a folder, unless its code says otherwise."""
    port = port or free_ports(1)[0]
    return Program(
        name=name,
        command=(sys.executable, "-c", code, str(port)),
        cwd=place,
        env={},
        port=port,
        port_variable="TOY_PORT",
        ready_path="/",
        setup=setup,
    )


def quiet(_: str) -> None:
    """Say nothing."""


@contextmanager
def occupied() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


def eventually(condition: object, wait_s: float = 10.0) -> bool:
    """Whether a callable becomes true in time."""
    assert callable(condition)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.02)
    return False


def test_a_started_program_answers_and_is_found_again(place: Path) -> None:
    """Starting it once more finds the one that runs."""
    wanted = program(place)
    first = start_all([wanted], place, place, quiet)[0]
    assert start_all([wanted], place, place, quiet) == [first]
    assert find(place, "toy") == first
    assert stop(place, "toy")
    assert not alive(first.pid)
    assert find(place, "toy") is None
    assert not stop(place, "toy")


def test_a_port_in_use_names_the_port_the_holder_and_the_variable(place: Path) -> None:
    """A person can act on the sentence."""
    with occupied() as port, pytest.raises(FlightlineError) as refusal:
        start_all([program(place, port=port)], place, place, quiet)
    sentence = str(refusal.value)
    for part in (f"port {port} is in use", f"process {psutil.Process().pid}", "TOY_PORT"):
        assert part in sentence


def test_when_one_fails_the_others_are_stopped(place: Path) -> None:
    """The second program's port is taken: the first, just started, does not stay."""
    good = program(place, name="good")
    with occupied() as port, pytest.raises(FlightlineError, match="is in use"):
        start_all([good, program(place, name="bad", port=port)], place, place, quiet)
    assert find(place, "good") is None


def test_a_program_that_ran_before_survives_a_failed_start(place: Path) -> None:
    """Only what this call started is stopped again."""
    good = program(place, name="good")
    running = start_all([good], place, place, quiet)[0]
    with pytest.raises(FlightlineError, match="ended while starting"):
        start_all([good, program(place, "raise SystemExit(3)", name="bad")], place, place, quiet)
    assert find(place, "good") == running
    stop(place, "good")


def test_a_program_that_ends_while_starting_is_quoted(place: Path) -> None:
    """Its last words are in the sentence."""
    with pytest.raises(FlightlineError, match="ended while starting: no such database"):
        start_all([program(place, "raise SystemExit('no such database')")], place, place, quiet)
    assert not list(place.glob("*.json"))


def test_a_program_that_never_answers_is_stopped(place: Path) -> None:
    """The deadline ends the wait, and the program."""
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(FlightlineError, match="did not answer within"):
        start_all([program(place, code)], place, place, quiet, deadline_s=1.5)
    assert find(place, "toy") is None
    assert not alive(int((place / "pid").read_text()))


def test_an_interrupted_start_leaves_nothing(place: Path) -> None:
    """Ctrl-C while a command waits: exit code 130, one sentence, no process, no pid file."""
    command = (
        "import sys, pathlib\n"
        "from pipelines.cli import command\n"
        "from pipelines.machine.processes import Program, start_all\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "def main(argv):\n"
        "    toy = Program('toy', (sys.executable, '-c', 'import time; time.sleep(600)'), place, {},\n"
        "                  int(sys.argv[2]), 'TOY_PORT', '/')\n"
        "    start_all([toy], place, place)\n"
        "command(main)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", command, str(place), str(free_ports(1)[0])], stderr=subprocess.PIPE, text=True
    )
    assert eventually((place / "toy.json").exists)
    running = find(place, "toy")
    assert running is not None
    starter.send_signal(2)
    _, errors = starter.communicate(timeout=30)
    assert starter.returncode == 130
    assert errors == "interrupted; run the same command again to continue.\n"
    assert not alive(running.pid)
    assert not (place / "toy.json").exists()


def test_a_stubborn_program_and_its_children_are_killed(place: Path) -> None:
    """What ignores SIGTERM is ended by force, with what it started."""
    running = start_all([program(place, STUBBORN + SERVER)], place, place, quiet)[0]
    children = psutil.Process(running.pid).children()
    assert children
    assert stop(place, "toy", grace_s=0.5)
    assert not any(alive(child.pid) for child in children)
    assert not alive(running.pid)


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(place: Path) -> None:
    """A pid file from before a restart of the machine must not end an innocent process."""
    ours = psutil.Process()
    stale = Running(name="toy", pid=ours.pid, created=ours.create_time() - 60, port=1, setup="", log="")
    (place / "toy.json").write_bytes(encode_json(stale))
    assert not stop(place, "toy")
    assert ours.is_running()
    assert not (place / "toy.json").exists()


def test_another_setup_is_not_taken_over_silently(place: Path) -> None:
    """A running program whose settings differ is named; it is not restarted behind somebody's back."""
    first = program(place, setup="with clock wall")
    start_all([first], place, place, quiet)
    other = program(place, port=first.port, setup="with clock request")
    with pytest.raises(FlightlineError, match=r"already runs on port \d+ with clock wall"):
        start_all([other], place, place, quiet)
    stop(place, "toy")
