"""The workers' gRPC servers behind one port: who takes calls, and from when on."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest

from serving.models.desired import read_acks
from tests.serving.grpc.calling import METHODS, request
from tests.serving.pairs import TWO, Pair, pair
from tests.serving.processes import Process, ended
from tests.serving.real import PYTHON, free_port, until

if not PYTHON.exists():
    pytest.skip(
        "NO .venv-serving: `make test` makes it; gRPC of workers goes untested", allow_module_level=True
    )

CONNECTIONS = 30  # the kernel deals them out: that one of two gets none of them is one in a billion


@pytest.fixture
def port(monkeypatch) -> int:
    """Where services that a test starts speak gRPC."""
    found = free_port()
    monkeypatch.setenv("FLIGHTLINE_GRPC_PORT", str(found))
    return found


@pytest.fixture
def two(port, tmp_path, build_release) -> Iterator[Pair]:
    """Two workers with one model, which both take calls: what they acknowledge they answer a moment later."""
    made = pair(tmp_path, build_release, TWO)
    process = next(made)
    until(lambda: all(listening(port, worker) for worker in process.workers()))
    yield process
    made.close()


def asked(port: int, name: str = "ModelInfer") -> Any:
    """What one call on a connection of its own comes to: a message, or the code of a refusal."""
    path, answer = METHODS[name]
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(path, response_deserializer=answer.FromString)
        data = request().SerializeToString() if name == "ModelInfer" else b""
        try:
            return call(data, timeout=20)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined]  # what is raised is the call


def assert_answered(port: int, connections: int) -> None:
    """Every one of so many calls, each on a connection of its own, is answered."""
    found = [asked(port) for _ in range(connections)]
    assert [answer for answer in found if isinstance(answer, grpc.StatusCode)] == []


def listening(port: int, pid: int) -> bool:
    """Whether the process `pid` accepts at `port`."""
    return any(
        connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
        for connection in psutil.Process(pid).net_connections("tcp")
    )


def test_a_worker_that_is_started_again_takes_calls_only_when_it_is_ready(two, port) -> None:
    """Killed, it cannot verify the model at first: all the while the other answers new connections."""
    victim, survivor = two.workers()
    release = two.releases[0]
    hidden = release.path.rename(two.folder / "hidden")
    dying = psutil.Process(victim)
    os.kill(victim, signal.SIGKILL)
    dying.wait(20)
    while not any(ack.refused for ack in read_acks(two.state).values()):
        assert_answered(port, 1)
    newcomer = next(pid for pid in two.workers() if pid != survivor)
    assert_answered(port, CONNECTIONS)
    assert not listening(port, newcomer)
    hidden.rename(release.path)
    two.desire(release, "1")
    while not listening(port, newcomer):
        assert_answered(port, 1)
    assert_answered(port, CONNECTIONS)


def test_a_single_process_without_a_model_lives_and_is_not_ready(port, tmp_path, build_release) -> None:
    """As over HTTP: it accepts at once, says that it lives and is not ready, and that is mended later."""
    process = Process(folder=tmp_path, port=free_port(), build=build_release, command=["serving"])
    release = process.release()
    with ended(process):
        process.start("/livez")
        assert process.status("/readyz") == 503
        assert asked(port, "ServerLive").live
        assert not asked(port, "ServerReady").ready
        assert asked(port) is grpc.StatusCode.UNAVAILABLE
        process.desire(release, "1")
        until(lambda: asked(port, "ServerReady").ready)
        assert process.status("/readyz") == 200
        assert_answered(port, 1)
