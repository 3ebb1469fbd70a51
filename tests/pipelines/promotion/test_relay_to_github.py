"""The relay that deploys nothing itself: what it asks of GitHub, and when."""

import threading
from collections.abc import Iterator

import pytest

from contract.errors import FlightlineError
from pipelines import relay
from pipelines.delivery.registry import Version
from pipelines.dispatch import Repository
from pipelines.promotion.webhooks import Delivery
from pipelines.relay import dispatch
from tests.pipelines.delivery.conftest import quiet
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.github import GitHub
from tests.pipelines.promotion.relays import DELIVERY, Probe


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
