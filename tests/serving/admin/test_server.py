"""The admin API over its socket: who may use it, what it refuses, and in which words."""

import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from contract.errors import FlightlineError
from serving.admin.document import PATHS
from serving.admin.http_server import BODY_BYTES, MOST_CALLS
from serving.admin.server import ADDRESS, Admin
from serving.admin.token import TOKEN, ensure_token, read_token
from serving.models.desired import desired_lock
from serving.models.workers import Presence
from tests.serving.real import until


class Api:
    """A host that follows its state, and a client of its admin API."""

    def __init__(self, host: Any, admin: Admin) -> None:
        """Start following."""
        self.host, self.state = host, host.settings.state
        self.token = read_token(self.state)
        self.port = json.loads((self.state / ADDRESS).read_bytes())["port"]
        self.admin = admin

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One call, with the token unless `headers` say otherwise."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        with httpx.Client(timeout=30, trust_env=False) as client:
            return client.request(
                method, f"http://127.0.0.1:{self.port}{path}", content=content, headers=sent
            )

    def load(self, version: str, release: Any) -> httpx.Response:
        """Load a release."""
        body = {"release": str(release.path), "digest": release.digest}
        return self.call("PUT", f"/models/toy/versions/{version}", body)


@pytest.fixture
def api(host) -> Iterator[Api]:
    """The admin API of a service with the model `toy` in version 1."""
    admin = Admin(host.settings.state, 0)
    admin.start()
    host.versions.start()
    try:
        yield Api(host, admin)
    finally:
        admin.close()


def test_the_life_of_a_version(api, make_bundle) -> None:
    """Loaded, a canary, a shadow, the default, and the old one unloaded; each acknowledged by the worker."""
    second = make_bundle(seed=2)
    loaded = api.load("2", second)
    assert loaded.status_code == 200, loaded.text
    assert loaded.json()["workers"] == [str(os.getpid())]
    for path, body in (
        ("split", {"split": {"1": 95, "2": 5}}),
        ("split", {"split": {}}),
        ("mirror", {"mirror": {"2": 100}}),
        ("default", {"version": "2"}),
    ):
        assert api.call("PUT", f"/models/toy/{path}", body).status_code == 200
    assert api.host.versions.current.models["toy"].predictor.bundle.digest == second.digest
    assert api.call("DELETE", "/models/toy/versions/1").status_code == 200
    found = api.call("GET", "/models").json()
    assert found["models"]["toy"] == {
        "default": "2",
        "versions": {"2": {"release": str(second.path), "digest": second.digest}},
        "split": {},
        "mirror": {},
        "older_contract": False,
    }
    assert found["workers"][str(os.getpid())]["generation"] == found["generation"] == 7


def test_a_bad_bundle_is_refused_and_the_state_is_as_before(api, make_bundle) -> None:
    """422 with the worker's sentence; the listing shows no trace."""
    bad = make_bundle(seed=2)
    (bad.bundle / "golden.json").write_bytes(b"{}")
    answer = api.load("2", bad)
    assert answer.status_code == 422
    assert "changed golden.json" in answer.json()["error"]
    assert list(api.call("GET", "/models").json()["models"]["toy"]["versions"]) == ["1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic {token}"},
        {"Authorization": "Bearer {token}x"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_without_the_token_nothing_is_told_or_done(api, headers) -> None:
    """401, for reading too, and for paths that do not exist."""
    given = {key: value.replace("{token}", api.token).encode("latin-1") for key, value in headers.items()}
    for method, path in (("GET", "/models"), ("DELETE", "/models/toy/versions/1"), ("GET", "/nowhere")):
        answer = api.call(method, path, **given)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error", "problems"}
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_token_is_its_owners_alone_and_in_no_log(api, caplog) -> None:
    """Mode 600, 256 bits, and not a word of it where others read."""
    caplog.set_level(logging.DEBUG)
    api.call("GET", "/models")
    path = api.state / TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(api.token) >= 43
    assert api.token not in caplog.text
    assert "GET /models: 200" in caplog.text


def test_it_listens_on_the_loopback_alone(api) -> None:
    """Another address of this machine is refused."""
    assert api.admin._server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nowhere", None, 404, "there is no /nowhere; expected /models"),
        ("POST", "/models", None, 405, "POST is not a method of /models; expected GET"),
        ("GET", "/models/toy/split", None, 405, "expected PUT"),
        ("GET", "/models?x=1", None, 422, "unknown parameter 'x'"),
        ("PUT", "/models/toy/split?wait=forever", {"split": {}}, 422, "wait is 'forever'"),
        ("PUT", "/models/toy/split?wait=nan", {"split": {}}, 422, "wait is 'nan'"),
        ("PUT", "/models/toy/split?wait=1&wait=2", {"split": {}}, 422, "wait is"),
        ("PUT", "/models/toy/split", b"{", 400, "the body is not JSON"),
        ("PUT", "/models/toy/split", b'"\xff"', 400, "the body is not JSON"),
        ("PUT", "/models/toy/split", b"[" * 60_000, 400, "the body is not JSON"),
        ("PUT", "/models/toy/split", None, 400, "the body is not JSON"),
        ("PUT", "/models/toy/split", {"splt": {}}, 422, "did you mean 'split'"),
        ("PUT", "/models/toy/split", {"split": {"1": "all"}}, 422, "split"),
        ("PUT", "/models/toy/split", {"split": {"1": 50}}, 422, "sums to 50 percent"),
        ("PUT", "/models/toy/split", b'{"split": {"1": 1e999}}', 400, "the body is not JSON"),
        ("PUT", "/models/toy/mirror", {"mirror": {"1": 5}}, 422, "answers as well"),
        ("PUT", "/models/tooy/mirror", {"mirror": {}}, 404, "did you mean 'toy'"),
        ("PUT", "/models/toy/default", {"version": "2"}, 404, "there is no version '2'"),
        ("DELETE", "/models/toy/versions/2", None, 404, "there is no version '2'"),
        ("DELETE", "/models/toy/versions/1", None, 409, "is the default"),
        ("DELETE", "/models/toy/versions/1", {"now": True}, 422, "the request has a body"),
        ("PUT", "/models/toy/versions/2", {"release": "/r", "digest": "x"}, 422, "64 hexadecimal"),
        ("PUT", "/models/toy/versions/2", {"release": "r", "digest": "0" * 64}, 422, "an absolute path"),
        ("PUT", "/models/toy/versions/1", {"release": "/r", "digest": "0" * 64}, 409, "another name"),
        ("PUT", "/models/toy/versions/..", {"release": "/r", "digest": "0" * 64}, 404, "there is no"),
        ("PUT", "/models/toy/versions/a%20b", {"release": "/r", "digest": "0" * 64}, 422, "letters, digits"),
        ("PATCH", "/models", None, 405, "Unsupported method"),
    ],
)
def test_a_wrong_call_is_refused_as_an_object_and_changes_nothing(  # noqa: PLR0917 - a table of calls
    api, method, path, body, status, words
) -> None:
    """In the form of the public API: `error`, and `problems` with field, found and expected."""
    before = api.call("GET", "/models").json()["models"]
    answer = api.call(method, path, body)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    for problem in answer.json()["problems"]:
        assert set(problem) == {"field", "found", "expected"}
    assert api.call("GET", "/models").json()["models"] == before


def test_a_long_body_is_refused_before_it_is_read(api) -> None:
    """By its header, as is a body of unknown length."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        head = f"PUT /models/toy/split HTTP/1.1\r\nAuthorization: Bearer {api.token}\r\n"
        connection.sendall(f"{head}Content-Length: {BODY_BYTES + 1}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096)
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert b" 411 " in connection.recv(4096)


def test_while_another_change_is_under_way_a_call_is_told_so(api) -> None:
    """409, and it may be made again."""
    with desired_lock(api.state, 5):
        answer = api.call("PUT", "/models/toy/split?wait=0.1", {"split": {"1": 100}})
    assert answer.status_code == 409
    assert "under way" in answer.json()["error"]


def test_a_silent_worker_is_named(api) -> None:
    """504 with the generation and who lacks."""
    api.host.versions.close()
    live = Presence(api.state, "nobody")
    live.begin()
    try:
        answer = api.call("PUT", "/models/toy/split?wait=0.2", {"split": {"1": 100}})
    finally:
        live.end()
    assert answer.status_code == 504
    assert answer.json()["lacking"] == ["nobody"]
    assert answer.json()["generation"] == 2


def test_too_many_calls_at_once_are_refused(api) -> None:
    """Callers that say nothing hold no more than so many threads; the next is told."""
    held = [socket.create_connection(("127.0.0.1", api.port), timeout=20) for _ in range(MOST_CALLS)]
    try:
        with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
            assert b"503 Service Unavailable" in connection.recv(4096)
    finally:
        for connection in held:
            connection.close()
    assert until(lambda: api.call("GET", "/models").status_code == 200)


def test_the_document_describes_every_path(api) -> None:
    """Each path and method of it exists: none answers 404 or 405."""
    document = api.call("GET", "/openapi.json").json()
    assert document["paths"].keys() == PATHS.keys()
    for path, item in document["paths"].items():
        filled = path.replace("{model}", "toy").replace("{version}", "9")
        for method in set(item) - {"parameters"}:
            answer = api.call(method.upper(), filled)
            assert answer.status_code in {200, 400} or "version '9'" in answer.json()["error"], answer.text


def test_of_two_processes_one_serves_and_the_other_takes_over(tmp_path) -> None:
    """As workers without a supervisor do."""
    first, second = Admin(tmp_path, 0), Admin(tmp_path, 0)
    first.start()
    port = json.loads((tmp_path / ADDRESS).read_bytes())["port"]
    second.start()
    try:
        assert json.loads((tmp_path / ADDRESS).read_bytes())["port"] == port
        first.close()
        until((tmp_path / ADDRESS).exists)
        port = json.loads((tmp_path / ADDRESS).read_bytes())["port"]
        headers = {"Authorization": f"Bearer {read_token(tmp_path)}"}
        answer = httpx.get(f"http://127.0.0.1:{port}/models", headers=headers, trust_env=False)
        assert answer.json()["models"] == {}
    finally:
        second.close()
    assert not (tmp_path / ADDRESS).exists()


@pytest.mark.unit
def test_a_token_that_others_can_read_is_not_used(tmp_path) -> None:
    """Whoever has read it could have changed what is served."""
    ensure_token(tmp_path)
    (tmp_path / TOKEN).chmod(0o644)
    with pytest.raises(FlightlineError, match="can be read by others"):
        Admin(tmp_path, 0).start()


@pytest.mark.unit
def test_a_token_is_made_once(tmp_path) -> None:
    """By whoever comes first; the others find the same."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_token(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [TOKEN]


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "short\n", "\xe9"])
def test_a_file_that_holds_no_token_is_not_used(tmp_path, text) -> None:
    """An empty token would open the door to everybody."""
    (tmp_path / TOKEN).write_bytes(text.encode())
    (tmp_path / TOKEN).chmod(0o600)
    with pytest.raises(FlightlineError, match=r"Remove it and start|cannot be read"):
        ensure_token(tmp_path)


@pytest.mark.unit
def test_without_a_port_there_is_no_api(tmp_path) -> None:
    """Off unless asked for, without a token or a thread."""
    admin = Admin(tmp_path / "state", None)
    admin.start()
    admin.close()
    assert not (tmp_path / "state").exists()


def test_a_taken_port_is_one_sentence(tmp_path) -> None:
    """Found at the start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(FlightlineError, match="a free port for the admin API"):
            Admin(tmp_path, taken.getsockname()[1]).start()
