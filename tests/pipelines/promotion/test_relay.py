"""The relay over HTTP: what it answers, and what it does then."""

import socket
import time

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines.promotion.webhooks import LARGEST, PATH, SIGNATURE, Delivery, secret
from pipelines.relay import deploy_here
from tests.pipelines.delivery.conftest import quiet
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.relays import DELIVERY, Probe


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
            "pending": 1,
            "trouble": "",
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
