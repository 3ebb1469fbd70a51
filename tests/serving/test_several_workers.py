"""Two workers behind one port: killed, stopped, told to change, and no caller notices (S5)."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.admin.server import ADDRESS
from serving.models.desired import read_acks
from serving.models.workers import live_workers
from tests.serving.pairs import TWO, Pair, pair
from tests.serving.processes import ROW, head_of, listens
from tests.serving.real import PYTHON, ROOT, free_port, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; two workers go untested", allow_module_level=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, build_release) -> Iterator[Pair]:
    """A pair for tests that leave two ready workers behind."""
    yield from pair(tmp_path_factory.mktemp("pair"), build_release, TWO)


@pytest.fixture
def own(tmp_path, build_release) -> Iterator[Pair]:
    """A pair of the test's own, to be ended by it."""
    yield from pair(tmp_path, build_release, TWO)


def test_after_a_call_every_worker_answers_with_the_new_version(shared) -> None:
    """Whichever takes the connection: loaded means loaded by both, default means default of both."""
    release = shared.release(seed=11)
    assert shared.load("a", release).json()["workers"] == [str(worker) for worker in shared.workers()]
    assert {shared.ask("a").json().get("digest") for _ in range(20)} == {release.digest}
    assert shared.admin("PUT", "/models/toy/default", {"version": "a"}).status_code == 200
    assert {shared.ask().json()["version"] for _ in range(20)} == {"a"}


def test_a_bad_bundle_is_refused_by_both_and_nothing_changes(shared) -> None:
    """The sentence of the workers comes back, once."""
    before = {shared.ask().json()["digest"] for _ in range(10)}
    release = shared.release(seed=12)
    (release.bundle / "golden.json").unlink()
    answer = shared.load("b", release)
    assert answer.status_code == 422
    assert answer.json()["error"].count("lacks golden.json") == 1
    assert {shared.ask().json()["digest"] for _ in range(10)} == before
    assert shared.ask("b").status_code == 404


def test_what_shadows_answered_is_counted_over_all_workers(shared) -> None:
    """Whichever worker is asked for /metrics: the rows of both are in it, and no caller saw the shadow."""
    assert shared.load("s", shared.release(seed=15)).status_code == 200
    assert shared.admin("PUT", "/models/toy/mirror", {"mirror": {"s": 100}}).status_code == 200
    try:
        assert "s" not in {shared.ask().json()["version"] for _ in range(20)}
        until(lambda: shadow_rows(shared, "s") == 20)
    finally:
        assert shared.admin("PUT", "/models/toy/mirror", {"mirror": {}}).status_code == 200


def test_what_became_of_logged_rows_is_told_of_all_workers_together(shared) -> None:
    """Whichever worker is asked for /metrics: the rows that both have written, and none that waits."""
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connection_of(shared, worker))) for worker in shared.workers()]
        before = written(clients)  # with all that other tests have asked
        for client, count in zip(clients, (5, 6), strict=True):
            for _ in range(count):
                assert client.post("/predict", json={"row": ROW}).status_code == 200
        until(lambda: written(clients) == before + 11)


def test_memory_and_cpu_are_told_of_every_worker(shared) -> None:
    """By its number, whichever of them is asked; as the system itself tells them (M1)."""
    workers = shared.workers()
    before = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in workers}
    with httpx.Client(base_url=f"http://127.0.0.1:{shared.port}", timeout=20) as client:
        text = client.get("/metrics").text
    found = {
        (sample.name, int(sample.labels["worker"])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("flightline_worker_")
    }
    for pid in workers:
        process = psutil.Process(pid)
        held = found["flightline_worker_resident_memory_bytes", pid]
        assert abs(held - process.memory_info().rss) < 20 * 2**20
        spent = found["flightline_worker_cpu_seconds_total", pid]
        assert (
            before[pid] - 0.02 <= spent <= sum(process.cpu_times()[:2]) + 0.02
        )  # the system counts in ticks
        assert abs(found["flightline_worker_start_time_seconds", pid] - process.create_time()) < 2
    assert {pid for _, pid in found} == set(workers)


def test_a_worker_killed_in_the_middle_of_a_call_does_not_break_it(shared) -> None:
    """Kill -9 of one of two while a version loads: the call ends right, and only its own requests are lost.

    The survivor is asked on a connection that it holds. The first worker is stopped before the call, so that
    it cannot have acknowledged when it is killed.
    """
    victim, survivor = shared.workers()
    kept = connection_of(shared, survivor)
    release = shared.release(seed=13)
    os.kill(victim, signal.SIGSTOP)
    answers: list[httpx.Response] = []
    calling = threading.Thread(target=lambda: answers.append(shared.load("c", release)))
    calling.start()
    try:
        until(lambda: "c" in read_acks(shared.state)[str(survivor)].versions["toy"])
        statuses = [kept.post("/predict", json={"row": ROW}).status_code]
        assert not answers  # it waits for the one that is stopped
    finally:
        os.kill(victim, signal.SIGKILL)
    while calling.is_alive():
        statuses.append(kept.post("/predict", json={"row": ROW}).status_code)
    calling.join()
    kept.close()
    assert answers[0].status_code == 200, answers[0].text
    assert str(survivor) in answers[0].json()["workers"]
    assert set(statuses) == {200}  # of one at least, asked in the middle of the call
    pids = shared.workers()
    assert survivor in pids
    assert victim not in pids
    assert {shared.ask("c").json().get("digest") for _ in range(20)} == {release.digest}
    assert f"worker {victim} ended with signal 9" in (shared.folder / "output.txt").read_text()


def test_no_request_is_lost_while_a_killed_worker_is_replaced(shared) -> None:
    """New connections go to the one that is left, and to the new one only when it is ready."""
    victim = shared.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: str(victim) not in live_workers(shared.state))
    asked = 0
    while len(live_workers(shared.state) & read_acks(shared.state).keys()) < 2:
        answer = shared.ask()
        assert answer.status_code == 200
        with httpx.Client(base_url=f"http://127.0.0.1:{shared.port}", timeout=20) as client:
            assert client.get("/readyz").status_code == 200
        asked += 1
    assert asked > 0


@pytest.mark.slow
def test_a_restarted_worker_has_read_the_state_before_it_accepts(shared) -> None:
    """What was desired while it was dead is what it answers with, from its first answer on."""
    release = shared.release(seed=14)
    for victim in shared.workers():
        os.kill(victim, signal.SIGKILL)
    answer = shared.load("d", release)
    assert answer.status_code == 200, answer.text
    assert shared.ask("d").json()["digest"] == release.digest
    shared.workers()


def test_a_dead_supervisor_leaves_no_worker_behind(own) -> None:
    """Kill -9 of it: the workers finish and end, and the port is free again."""
    workers = own.workers()
    own.popen.kill()
    own.popen.wait(20)
    until(lambda: not any(psutil.pid_exists(pid) and running(pid) for pid in workers))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", own.port)) != 0


def test_sigterm_is_passed_on_and_requests_in_flight_are_finished(own) -> None:
    """A half-sent request is answered, the exit code is 0, no acknowledgement, no process is left."""
    workers = own.workers()
    body = json.dumps({"row": ROW}).encode()
    with socket.create_connection(("127.0.0.1", own.port), timeout=20) as connection:
        connection.sendall(head_of(body) + body[:5])
        assert own.ask().status_code == 200
        own.client.close()
        own.popen.terminate()
        until(lambda: not listens(own.port))
        connection.sendall(body[5:])
        assert b"200 OK" in connection.recv(65536)
    assert own.popen.wait(60) == 0
    assert read_acks(own.state) == {}
    assert live_workers(own.state) == set()
    assert not (own.state / ADDRESS).exists()
    assert not any(psutil.pid_exists(pid) and running(pid) for pid in workers)
    assert "Traceback" not in (own.folder / "output.txt").read_text()


@pytest.mark.slow
def test_a_port_without_a_ready_worker_is_closed(tmp_path, build_release) -> None:
    """Nobody accepts before the model is verified; the admin API says why, and a good version opens both."""
    rpc = free_port()
    process = Pair(folder=tmp_path, port=free_port(), build=build_release, command=TWO)
    bad = process.release()
    (bad.bundle / "golden.json").unlink()
    process.desire(bad, "1")
    try:
        process.popen = subprocess.Popen(
            [str(PYTHON), "-m", *TWO, "--port", str(process.port)],
            cwd=ROOT,
            env={
                **os.environ,
                "FLIGHTLINE_STATE": str(tmp_path / "state"),
                "FLIGHTLINE_TRUST": str(bad.trust_file),
                "FLIGHTLINE_GRPC_PORT": str(rpc),
            },
        )
        process.workers()
        assert not listens(process.port)
        assert not listens(rpc)
        workers = process.admin("GET", "/models").json()["workers"]
        assert all("lacks golden.json" in ack["refused"]["toy@1"] for ack in workers.values())
        process.desire(process.release(seed=2), "2")
        until(lambda: listens(process.port))
        assert process.ask().json()["version"] == "2"
        until(lambda: listens(rpc))
    finally:
        process.popen.terminate()
        assert process.popen.wait(60) == 0


@pytest.mark.slow
def test_bentoml_serves_two_workers_with_one_admin_api(tmp_path, build_release, monkeypatch) -> None:
    """Without our supervisor: its workers agree on who serves the API, and a call reaches both."""
    monkeypatch.setenv("BENTOML_CONFIG_OPTIONS", "services.flightline.workers=2")
    monkeypatch.setenv("FLIGHTLINE_ADMIN_PORT", "0")
    made = pair(tmp_path, build_release, ["bentoml", "serve", "serving.service:Flightline"])
    process = next(made)
    release = process.release(seed=21)
    assert len(process.load("2", release).json()["workers"]) == 2
    assert {process.ask("2").json().get("digest") for _ in range(20)} == {release.digest}
    assert process.stop() == 0
    made.close()


def shadow_rows(process: Pair, version: str) -> float:
    """Rows that a shadow answered, of all workers, as one of them tells."""
    with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=20) as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("flightline_shadow_rows_total") and f'version="{version}"' in line
    )


def log_rows(client: httpx.Client) -> dict[str, float]:
    """Rows that the prediction log has written, and those that wait, as whoever is asked tells."""
    text = client.get("/metrics").text
    found = {
        sample.labels.get("state", "waiting"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in {"flightline_prediction_log_rows_total", "flightline_prediction_log_waiting_rows"}
    }
    return {name: found[name] for name in ("written", "waiting")}


def written(clients: Sequence[httpx.Client]) -> float:
    """Rows that were written, once every worker has said that none waits, and all say the same."""

    def said() -> list[dict[str, float]] | None:
        for client in clients:  # who is asked brings what it has done up to date
            log_rows(client)
        rows = [log_rows(client) for client in clients]
        return rows if rows[0]["waiting"] == 0 and rows.count(rows[0]) == len(rows) else None

    return (until(said) or [])[0]["written"]


def connection_of(process: Pair, worker: int) -> httpx.Client:
    """A connection that `worker` has accepted."""
    while True:
        client = httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=20)
        if client.get("/status").json()["worker"] == str(worker):
            return client
        client.close()


def running(pid: int) -> bool:
    """Whether a process can still do something: one that nobody waits for stays visible."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
