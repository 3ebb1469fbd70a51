"""An alarm becomes an event on GitHub, and nothing else does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines import dispatch

ALARM = dispatch.Outcome(model="iris", action="retrain", reason="drift in 3 of 4", as_of="2013-05-01")


@pytest.fixture
def github(monkeypatch):
    """A server with GitHub's route; `status` is what it answers, `seen` what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.status, server.seen = 204, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GITHUB_REPOSITORY", "me/flightline")
        monkeypatch.setenv("GITHUB_TOKEN", "secret")
        yield server
        server.shutdown()
        thread.join()


def test_a_decision_to_retrain_is_sent(github, tmp_path):
    """Type, model and date arrive, with the job's token."""
    dispatch.record(tmp_path, ALARM)
    assert dispatch.main(["iris", "--var", str(tmp_path)]) == 0
    ((path, token, body),) = github.seen
    assert (path, token) == ("/repos/me/flightline/dispatches", "Bearer secret")
    assert body["event_type"] == "retrain"
    assert body["client_payload"] == {"model": "iris", "as_of": "2013-05-01", "reason": "drift in 3 of 4"}


@pytest.mark.parametrize("action", ["quarantine", "insufficient", "wait", "keep"])
def test_any_other_decision_sends_nothing(github, tmp_path, capsys, action):
    """Bad data and thin evidence never retrain; the reason is printed."""
    dispatch.record(tmp_path, dispatch.Outcome(model="iris", action=action, reason="because", as_of=""))
    assert dispatch.main(["iris", "--var", str(tmp_path)]) == 0
    assert github.seen == []
    assert f"{action}, because" in capsys.readouterr().out


def test_a_refusal_by_github_is_a_sentence(github, tmp_path):
    """A token without the right gets 403, and the sentence names the right."""
    github.status = 403
    dispatch.record(tmp_path, ALARM)
    with pytest.raises(FlightlineError, match=r"answered 403; .*`contents: write`"):
        dispatch.main(["iris", "--var", str(tmp_path)])


def test_an_unreachable_server_is_a_sentence(monkeypatch, tmp_path):
    """Nobody listens on port 1."""
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/flightline")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    dispatch.record(tmp_path, ALARM)
    with pytest.raises(FlightlineError, match="cannot be reached"):
        dispatch.main(["iris", "--var", str(tmp_path)])


@pytest.mark.unit
def test_without_a_decision_the_command_says_what_to_run(tmp_path):
    """Monitoring comes first."""
    with pytest.raises(ConfigError, match="Run make monitor MODEL=iris"):
        dispatch.main(["iris", "--var", str(tmp_path)])


@pytest.mark.unit
@pytest.mark.parametrize("name", ["GITHUB_REPOSITORY", "GITHUB_TOKEN"])
def test_a_missing_variable_is_named(name):
    """Outside a workflow there is nowhere to send to."""
    environment = {"GITHUB_REPOSITORY": "me/flightline", "GITHUB_TOKEN": "secret"}
    with pytest.raises(ConfigError, match=f"{name} is not set"):
        dispatch.Repository.from_environment({**environment, name: ""})
