"""The service as it really runs: started from its own environment, over a socket, stopped by signals."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from serving.models.desired import read_acks
from tests.serving.processes import ROW, Process, head_of, listens, started
from tests.serving.real import PYTHON, ROOT, until

if not PYTHON.exists():
    pytest.skip(
        "NO .venv-serving: `make test` makes it; the service itself goes untested", allow_module_level=True
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory, build_release) -> Iterator[Process]:
    """One service for tests that leave it as useful as they found it."""
    yield from started(tmp_path_factory.mktemp("service"), build_release, ["serving"])


@pytest.fixture
def own(tmp_path, build_release) -> Iterator[Process]:
    """A service of the test's own, to be ended by it."""
    yield from started(tmp_path, build_release, ["serving"])


def test_a_ready_service_answers_everywhere(shared) -> None:
    """Readiness, prediction, status, documentation and metrics over a real socket."""
    digest = shared.predict().json()["digest"]
    assert shared.client.get("/status").json()["served"] == {"toy": digest}
    assert shared.client.get("/docs").status_code == 200
    assert shared.client.get("/livez").status_code == 200
    metrics = shared.client.get("/metrics").text
    for name in (
        "flightline_prediction_seconds_bucket",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "bentoml_service_request_total",
        "flightline_model_as_of_timestamp_seconds",
    ):
        assert f"\n{name}" in metrics


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="NO /proc: what a process maps is not known")
def test_it_holds_no_client_of_itself(shared) -> None:
    """BentoML makes one when a service starts; the compiled parts of its library would be in memory now."""
    maps = Path(f"/proc/{shared.popen.pid}/maps").read_text()
    assert "uvloop" in maps
    assert "aiohttp" not in maps


def test_a_body_that_is_too_large_is_refused_by_its_header(shared) -> None:
    """The answer comes before the body is read, and the service goes on."""
    answer = shared.client.post(
        "/predict", content=b" " * 30_000_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert shared.predict().status_code == 200


def test_versions_are_swapped_without_a_failed_request(shared) -> None:
    """While versions change, every request is answered by one of them, whole."""
    versions = [shared.release(seed=seed) for seed in range(10, 14)]
    known = {release.digest for release in shared.releases}
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=shared.client.base_url, timeout=20) as client:
            while not stop.is_set():
                answers.append(client.post("/predict", json={"row": ROW}))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number, release in enumerate(versions):
            generation = shared.desire(release, f"v{number}")
            assert shared.acknowledged(generation).served == {"toy": release.digest}
            assert shared.predict().json()["version"] == f"v{number}"
    finally:
        stop.set()
        asking.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["digest"] for answer in answers} <= known


def test_a_tampered_release_leaves_the_champion_serving(shared) -> None:
    """The refusal is acknowledged with its sentence, readiness stays, answers stay."""
    champion = shared.predict().json()["digest"]
    challenger = shared.release(seed=99)
    with (challenger.bundle / "model.onnx").open("ab") as file:
        file.write(b"x")
    ack = shared.acknowledged(shared.desire(challenger, "bad"))
    assert "changed model.onnx" in ack.refused["toy@bad"]
    assert ack.served == {"toy": champion}
    assert shared.predict().json()["digest"] == champion
    assert shared.status("/readyz") == 200


def test_a_request_in_flight_is_finished_before_the_end(own) -> None:
    """SIGTERM: the half-sent request is answered, the log is written, the exit code is 0."""
    body = b'{"row": {"width": 1.5, "letter": "A"}, "id": "last"}'
    with socket.create_connection(("127.0.0.1", own.port), timeout=20) as connection:
        connection.sendall(head_of(body) + body[:10])
        assert own.predict().status_code == 200  # the server has read what came before, too
        own.client.close()
        own.popen.terminate()
        until(lambda: not listens(own.port))
        connection.sendall(body[10:])
        assert b"200 OK" in connection.recv(65536)
    assert own.popen.wait(60) == 0
    assert "last" in pl.read_parquet(own.folder / "predictions" / "toy" / "*.parquet")["entity_id"].to_list()
    assert read_acks(own.folder / "state") == {}
    assert "Traceback" not in (own.folder / "output.txt").read_text()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["serving"], id="serving"),
        pytest.param(["bentoml", "serve", "serving.service:Flightline"], id="bentoml"),
    ],
)
def test_unready_comes_before_the_end(tmp_path, build_release, monkeypatch, command) -> None:
    """SIGTERM: /readyz says 503 while predictions go on; then what is begun ends, and so does the service."""
    monkeypatch.setenv("FLIGHTLINE_DRAIN_SECONDS", "4")
    service = started(tmp_path, build_release, command)
    process = next(service)
    body = b'{"row": {"width": 1.5, "height": null, "letter": "A"}, "id": "last"}'
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(head_of(body) + body[:10])
        assert process.predict().status_code == 200
        process.popen.terminate()
        until(lambda: process.status("/readyz") == 503, 3)
        assert "about to end" in process.client.get("/readyz").text
        answer = process.predict()
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        connection.sendall(body[10:])
        assert b"200 OK" in connection.recv(65536)
    assert process.popen.wait(60) == 0
    table = pl.read_parquet(process.folder / "predictions" / "toy" / "*.parquet")
    assert "last" in table["entity_id"].to_list()
    assert len(table) == 3
    service.close()


def test_a_killed_service_comes_back_as_desired(own) -> None:
    """Kill -9, a new desired version meanwhile, start: the new one answers from the first ready moment."""
    own.popen.kill()
    own.popen.wait(20)
    dead = str(own.popen.pid)
    release = own.release(seed=5)
    own.desire(release, "2")
    own.start()
    assert own.predict().json()["digest"] == release.digest
    assert dead not in read_acks(own.folder / "state")


def test_a_service_with_a_tampered_model_never_becomes_ready(own) -> None:
    """With no champion to fall back on, it stays up, unready, and says why."""
    own.stop()
    with (own.releases[0].bundle / "golden.json").open("ab") as file:
        file.write(b" ")
    own.start(wait_for="/status")
    reason = until(lambda: "changed" in (text := own.client.get("/status").json()["reason"]) and text)
    assert "changed golden.json" in reason
    unready = own.client.get("/readyz")
    assert (unready.status_code, "not ready: toy@1: " in unready.text) == (503, True), unready.text
    assert "changed golden.json" in unready.text
    assert own.predict().status_code == 503


def test_bentoml_serves_it_as_well(tmp_path, build_release, monkeypatch) -> None:
    """It is a BentoML service like any other, and refuses heads without an end and callers too slow (M9)."""
    monkeypatch.setenv("FLIGHTLINE_RECEIVE_SECONDS", "1")
    service = started(tmp_path, build_release, ["bentoml", "serve", "serving.service:Flightline"])
    process = next(service)
    assert process.predict().status_code == 200
    assert "flightline_prediction_seconds" in process.client.get("/metrics").text
    offered = process.client.get("/models", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert offered.status_code == 200
    line = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    for sent, status in ((line, 408), (line + b"X-Long: " + b"x" * 40_000, 431)):
        with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
            connection.sendall(sent)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status), head
        assert json.loads(body)["problems"][0].keys() == {"field", "found", "expected"}
    assert process.stop() == 0
    service.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--state", "s"], "FLIGHTLINE_TRUST is not set", id="no-trust"),
        pytest.param(["--state", "s", "--trust", "t"], "trust list", id="trust-not-there"),
        pytest.param(["--state", "s", "--trust", "t", "--clock", "wal"], "did you mean 'wall'", id="clock"),
    ],
)
def test_a_wrong_start_is_one_sentence(tmp_path, arguments, sentence) -> None:
    """No traceback, a non-zero exit, and what to do."""
    _refused_start(tmp_path, ["--port", "0", *arguments], sentence)


def test_a_port_in_use_is_one_sentence(tmp_path, build_release) -> None:
    """Found before anything slow is started."""
    release = build_release(tmp_path / "releases" / "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = ["--state", str(tmp_path), "--trust", str(release.trust_file)]
        _refused_start(tmp_path, ["--port", str(taken.getsockname()[1]), *arguments], "cannot be used")


def _refused_start(folder: Path, arguments: list[str], sentence: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLIGHTLINE_")}
    done = subprocess.run(
        [PYTHON, "-m", "serving", *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
