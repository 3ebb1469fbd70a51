"""The service as it really runs: started from its own environment, over a socket, stopped by signals."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from serving.models.desired import Desired, DesiredModel, read_acks, write_desired

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving" / "bin" / "python"
START_SECONDS = 90  # four alone on a machine, far more beside a busy test suite
ROW = {"width": 1.5, "height": 0.25, "letter": "A"}

if not PYTHON.exists():
    pytest.skip(
        "NO .venv-serving: `make test` makes it; the service itself goes untested", allow_module_level=True
    )


def until(condition: Any, seconds: float = 20) -> Any:
    """The first true value of `condition`, waited for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.05)
    return value


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


def port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(folder: Path, build: Any, command: list[str]) -> Iterator[Process]:
    """A running service with one model, stopped at the end."""
    process = Process(folder=folder, port=port(), build=build, command=command)
    process.desire(process.release(), "1")
    try:
        process.start()
        yield process
    finally:
        if process.popen is not None and process.popen.poll() is None:
            process.stop()
        if process.client is not None:
            process.client.close()


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
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", own.port), timeout=20) as connection:
        connection.sendall(head % len(body) + body[:10])
        assert own.predict().status_code == 200  # the server has read what came before, too
        own.client.close()
        own.popen.terminate()
        until(lambda: not _listens(own.port))
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
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(head % len(body) + body[:10])
        assert process.predict().status_code == 200
        process.popen.terminate()
        until(lambda: process.status("/readyz") == 503, 3)
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
    assert own.status("/readyz") == 503
    assert own.predict().status_code == 503


def test_bentoml_serves_it_as_well(tmp_path, build_release) -> None:
    """It is a BentoML service like any other."""
    service = started(tmp_path, build_release, ["bentoml", "serve", "serving.service:Flightline"])
    process = next(service)
    assert process.predict().status_code == 200
    assert "flightline_prediction_seconds" in process.client.get("/metrics").text
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


@pytest.mark.parametrize(
    "library",
    ["sklearn", "skl2onnx", "onnx", "dvc", "ibis", "mlflow", "evidently", "pandas", "training", "pipelines"],
)
def test_the_serving_environment_holds_no_training_library(tmp_path, library) -> None:
    """Training and inference are separate environments."""
    found = subprocess.run(
        [PYTHON, "-c", f"import importlib.util as u; print(u.find_spec({library!r}))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "None"


def _listens(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


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
