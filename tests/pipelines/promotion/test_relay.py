"""The relay over HTTP: what it answers, what it does then, and what it asks of GitHub."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines import relay
from pipelines.delivery.registry import Version
from pipelines.dispatch import Repository
from pipelines.machine.settings import RELAY_PORT_VARIABLE, Settings
from pipelines.promotion.listening import listening
from pipelines.promotion.webhooks import ID, LARGEST, PATH, SIGNATURE, TIMESTAMP, Delivery, secret, signature
from pipelines.relay import Relay, deploy_here, dispatch
from tests.pipelines.delivery.conftest import quiet, settings_in
from tests.pipelines.delivery.test_processes import eventually

DELIVERY = Delivery("11111111-2222", 1_700_000_000, "iris", "champion", "2")


class Ended(Exception):  # noqa: N818 - not an error: how a test ends the relay's loop
    """Leave the loop."""


class Probe:
    """A relay that listens, whose acting is recorded and may fail."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.acted, self.said = settings, [], []
        self.trouble: FlightlineError | None = None
        self.ending = False

    def try_it(self, delivery: Delivery) -> bool:
        """What the relay calls: `act`, until the test ends."""
        if self.ending:
            raise Ended
        return self.act(delivery)

    def act(self, delivery: Delivery) -> bool:
        """Keep the id of what was to be done, unless there is trouble."""
        if self.trouble:
            raise self.trouble
        self.acted.append(delivery.id)
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen and work, for the length of the block."""
        relay = Relay(self.settings, self.try_it, "", self.said.append)
        port = self.settings.relay_port

        def work() -> None:
            with suppress(Ended):
                relay.run()

        worker = threading.Thread(target=work, daemon=True)
        with listening(port, RELAY_PORT_VARIABLE, "the relay", relay.routes()):
            worker.start()
            try:
                yield
            finally:
                self.ending = True
                self.send(identity=f"the-last-one-of-{id(relay)}")
                worker.join(30)
                self.ending = False
                assert not worker.is_alive()

    def send(
        self, *, key: str = "", sent: float | None = None, identity: str = "11111111-2222", **headers: str
    ) -> httpx.Response:
        """A delivery, signed as MLflow signs."""
        data = {"name": "iris", "alias": "champion", "version": "2"}
        body = json.dumps({"entity": "model_version_alias", "action": "created", "data": data}).encode()
        when = str(int(time.time() if sent is None else sent))
        signed = signature(key or secret(self.settings), identity, when, body)
        given = {
            "Content-Type": "application/json",
            ID: identity,
            TIMESTAMP: when,
            SIGNATURE: signed,
            **headers,
        }
        return self.post(body, given)

    def post(self, body: bytes, headers: dict[str, str], path: str = PATH) -> httpx.Response:
        """Any request."""
        return httpx.post(
            f"http://127.0.0.1:{self.settings.relay_port}{path}",
            content=body,
            headers=headers,
            trust_env=False,
        )


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """A relay in a place of its own."""
    return Probe(settings_in(tmp_path / "var"))


def test_a_delivery_is_answered_at_once_and_acted_on_once(probe: Probe) -> None:
    """202 first, then the work; the same delivery again is refused, also by the next process."""
    with probe.running():
        answer = probe.send()
        assert (answer.status_code, answer.json()) == (202, {"accepted": "11111111-2222"})
        assert eventually(lambda: probe.acted == ["11111111-2222"])
        assert probe.send().status_code == 409
    with probe.running():
        again = probe.send()
        assert again.status_code == 409
        assert "was accepted before" in again.json()["error"]["found"]
        assert probe.send(identity="another-one").status_code == 202
        assert eventually(lambda: probe.acted[-1] == "another-one")
    assert probe.acted.count("11111111-2222") == 1


def test_what_was_accepted_and_not_done_is_done_after_a_restart(probe: Probe) -> None:
    """Whatever kept it from being done, and however often it was tried in vain; the trouble is told once."""
    probe.trouble = FlightlineError("nobody answers", "somebody", "Wait")
    with probe.running():
        assert probe.send().status_code == 202
        assert eventually(lambda: len(probe.said) >= 1)
        assert httpx.get(f"http://127.0.0.1:{probe.settings.relay_port}/livez", trust_env=False).json() == {
            "pending": 1
        }
    assert probe.acted == []
    assert sum("nobody answers" in line for line in probe.said) == 1
    probe.trouble = None
    with probe.running():
        assert eventually(lambda: "11111111-2222" in probe.acted)


def test_a_failed_attempt_is_made_again_without_another_delivery(probe: Probe) -> None:
    """Trouble that passes costs seconds and no click."""
    probe.trouble = FlightlineError("nobody answers", "somebody", "Wait")
    with probe.running():
        probe.send()
        assert eventually(lambda: len(probe.said) >= 1)
        probe.trouble = None
        assert eventually(lambda: probe.acted == ["11111111-2222"])


def test_refusals_have_a_status_and_a_sentence(probe: Probe) -> None:
    """A forger, a replayer of old deliveries and a stranger do nothing, and are told why."""
    with probe.running():
        for answer, status, words in (
            (probe.send(key="guessed"), 401, "signature"),
            (probe.send(**{SIGNATURE: ""}), 401, "not signed"),
            (probe.send(sent=time.time() - 301), 403, "at most 300 s"),
            (probe.send(**{"Content-Type": "text/plain"}), 415, "application/json"),
            (probe.post(b" " * (LARGEST + 1), {"Content-Type": "application/json"}), 413, "at most 65536"),
            (probe.post(b"{}", {}, "/elsewhere"), 404, f"POST {PATH}"),
            (probe.post(b"{}", {}, "/livez"), 405, f"POST {PATH}"),
        ):
            assert answer.status_code == status
            error = answer.json()["error"]
            assert words in f"{error['found']}; expected {error['expected']}. {error['remedy']}."
        assert probe.acted == []
        assert probe.send().status_code == 202  # a forged delivery has not used up its id


def test_a_caller_who_says_nothing_is_left(probe: Probe) -> None:
    """Half a request holds up nobody else, and not for ever."""
    with probe.running(), socket.create_connection(("127.0.0.1", probe.settings.relay_port)) as silent:
        silent.sendall(
            f"POST {PATH} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode()
        )
        assert probe.send().status_code == 202
        silent.settimeout(20)
        assert silent.recv(100) == b""


def test_the_secret_may_be_replaced_while_the_relay_runs(probe: Probe) -> None:
    """The new one counts from then on, the old one no longer."""
    with probe.running():
        old = secret(probe.settings)
        (probe.settings.keys / "webhook.secret").unlink()
        assert probe.send(key=old).status_code == 401
        assert probe.send().status_code == 202


class GitHub(ThreadingHTTPServer):
    """GitHub's `POST /repos/{owner}/{repo}/dispatches`, as strict as it is documented.

    https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _GitHubHandler)
        self.events: list[dict[str, object]] = []
        self.down = False


class _GitHubHandler(BaseHTTPRequestHandler):
    server: GitHub

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.verdict(raw))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def verdict(self, raw: bytes) -> int:
        if self.server.down:
            return 503
        if self.headers["Authorization"] != "Bearer secret":
            return 401
        if self.path != "/repos/me/it/dispatches":
            return 404
        if self.headers["Accept"] != "application/vnd.github+json" or not self.headers["User-Agent"]:
            return 415
        if self.headers["X-GitHub-Api-Version"] != "2022-11-28":
            return 400
        body = json.loads(raw)
        event, payload = body.pop("event_type"), body.pop("client_payload", {})
        fits = isinstance(event, str) and 0 < len(event) <= 100 and isinstance(payload, dict)
        if body or not fits or len(payload) > 10 or len(json.dumps(payload)) > 65_535:
            return 422
        self.server.events.append({"type": event, **payload})
        return 204

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub, as far as it matters here."""
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def repository(github: GitHub, token: str = "secret") -> Repository:  # noqa: S107 - of a server of our own
    """The repository, as the environment of a relay names it."""
    return Repository.from_environment(
        {
            "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
            "GITHUB_REPOSITORY": "me/it",
            "GITHUB_TOKEN": token,
        }
    )


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of what the registry calls iris version 2."""
    digest = "2d" * 32

    class OneVersion:
        def by_number(self, model: str, version: str) -> Version:
            return Version(model, version, digest, "a-run", {}, ())

    monkeypatch.setattr(relay, "connect", lambda _: OneVersion())
    return digest


def test_a_promotion_becomes_an_event_on_github(probe: Probe, github: GitHub, registered: str) -> None:
    """The type that cd.yml listens to, with the model, the version and what the version is."""
    assert dispatch(DELIVERY, probe.settings, repository(github), quiet)
    named = {"model": "iris", "version": "2", "digest": registered, "delivery": "11111111-2222"}
    expected = {"type": "promote", **named}
    assert github.events == [expected]


def test_github_is_not_asked_without_need(probe: Probe, github: GitHub) -> None:
    """Another alias, another team's model and an alias that was taken away start no workflow."""
    for delivery in (
        Delivery("1", 0, "iris", "challenger", "2"),
        Delivery("2", 0, "iris", "Champion", "2"),
        Delivery("3", 0, "theirs", "champion", "2"),
        Delivery("4", 0, "iris", "champion", ""),
    ):
        assert dispatch(delivery, probe.settings, repository(github), quiet)
    assert github.events == []


def test_a_version_that_the_registry_does_not_tell_is_asked_for_again(probe: Probe, github: GitHub) -> None:
    """A number alone would leave the workflow to deliver whatever it has."""
    with pytest.raises(FlightlineError, match="MLflow does not answer"):
        dispatch(DELIVERY, probe.settings, repository(github), quiet)
    assert github.events == []


@pytest.mark.usefixtures("registered")
def test_what_github_does_not_take_is_sent_again(probe: Probe, github: GitHub) -> None:
    """A bad hour of GitHub's, or a token that has run out, delays and loses nothing."""
    with pytest.raises(FlightlineError, match="answered 401"):
        dispatch(DELIVERY, probe.settings, repository(github, "expired"), quiet)
    github.down = True
    probe.act = lambda delivery: dispatch(delivery, probe.settings, repository(github), quiet)
    with probe.running():
        probe.send()
        assert eventually(lambda: any("answered 503" in line for line in probe.said))
        github.down = False
        assert eventually(lambda: [event["delivery"] for event in github.events] == ["11111111-2222"])


@pytest.mark.parametrize("delivery", [("theirs", "champion"), ("iris", "challenger")])
def test_what_does_not_concern_production_is_dealt_with_at_once(
    probe: Probe, delivery: tuple[str, str]
) -> None:
    """Without a word to MLflow, which does not even run here."""
    model, alias = delivery
    assert deploy_here(Delivery("1", 0, model, alias, "2"), probe.settings, quiet)


def test_without_mlflow_a_deployment_is_tried_again(probe: Probe) -> None:
    """Nothing is known about the version, so nothing is decided."""
    with pytest.raises(FlightlineError, match="MLflow does not answer"):
        deploy_here(DELIVERY, probe.settings, quiet)
