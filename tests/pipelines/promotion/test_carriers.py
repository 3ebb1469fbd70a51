"""The status tells whether clicks are carried out, and what the relay heard last."""

import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from pipelines.delivery.board import board
from pipelines.delivery.standing import Status, status
from pipelines.local import RECONCILER, RELAY
from pipelines.machine.processes import Running
from pipelines.machine.settings import RECONCILER_PORT_VARIABLE, Settings
from pipelines.promotion import carriers
from pipelines.promotion.carriers import Carrier, Webhook, last_webhook, reconciler_state, relay_state
from pipelines.promotion.deliveries import Deliveries
from pipelines.promotion.listening import listening
from pipelines.promotion.webhooks import Delivery
from tests.pipelines.delivery.conftest import settings_in

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Where nothing runs."""
    return settings_in(tmp_path / "var")


@contextmanager
def answering(port: int, said: Mapping[str, object]) -> Iterator[None]:
    """A process that says this of itself."""
    routes = {("GET", "/livez"): lambda *_: (200, said)}
    with listening(port, RECONCILER_PORT_VARIABLE, "a stand-in", routes):  # type: ignore[arg-type]
        yield


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `make up` had started this very process as relay and reconciler."""
    ours = Running("it", os.getpid(), psutil.Process().create_time(), port=1, setup="", log="")
    monkeypatch.setattr(carriers, "find", lambda *_: ours)


def shown(found: Status) -> str:
    """What a person reads."""
    screen = io.StringIO()
    Console(file=screen, width=160).print(board(found))
    return screen.getvalue()


def test_where_nothing_runs_both_are_stopped_and_no_file_is_made(settings: Settings) -> None:
    """Looking changes nothing."""
    found = status(settings)
    assert found.carriers == {RELAY: Carrier("stopped"), RECONCILER: Carrier("stopped")}
    assert found.webhook is None
    assert not (settings.var / "relay").exists()
    assert "relay  stopped; no webhook came yet\nreconciler  stopped\n" in shown(found)


def test_with_a_shared_mlflow_another_machine_may_run_them(tmp_path: Path) -> None:
    """That they do not run here is no fault."""
    shared = settings_in(tmp_path / "var", MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert relay_state(shared).state == reconciler_state(shared).state == "not run by this machine"


@pytest.mark.usefixtures("started")
def test_one_that_runs_and_says_nothing_stands_out(settings: Settings) -> None:
    """It hangs, or is starting."""
    assert relay_state(settings) == Carrier("does not answer")


def test_one_that_others_have_started_is_not_taken_for_ours(settings: Settings) -> None:
    """Another checkout on the same port: what it says is about other models."""
    with answering(settings.relay_port, {"pending": 3}):
        assert relay_state(settings) == Carrier("answers, but was not started from here")


@pytest.mark.usefixtures("started")
def test_what_waits_and_what_is_in_the_way_is_told(settings: Settings) -> None:
    """Deliveries that are still to be carried out; a round that came to nothing, and one that was refused."""
    with answering(settings.relay_port, {"pending": 2}):
        assert relay_state(settings) == Carrier("running", "2 to be carried out", trouble=True)
    with answering(settings.relay_port, {"pending": 0}):
        assert relay_state(settings) == Carrier("running")
    with answering(settings.relay_port, {"pending": 1, "trouble": "no room"}):
        assert relay_state(settings) == Carrier("running", "1 to be carried out; no room", trouble=True)
    for said, detail, trouble in (
        ({"rounds": 7, "trouble": "", "last": []}, "7 rounds", False),
        ({"rounds": 7, "trouble": "MLflow is away", "last": []}, "MLflow is away", True),
        (
            {
                "rounds": 7,
                "trouble": "",
                "last": [{"model": "iris", "outcome": "failed", "detail": "a lock"}],
            },
            "iris failed: a lock",
            True,
        ),
    ):
        with answering(settings.reconciler_port, said):
            assert reconciler_state(settings) == Carrier("running", detail, trouble=trouble)


def test_the_newest_webhook_is_told_with_its_age(settings: Settings) -> None:
    """Whether it was carried out, too."""
    table = Deliveries(settings.var / "relay" / "deliveries.db")
    assert table.pending() == []
    assert last_webhook(settings) is None
    now = time.time()
    table.accept(Delivery("first-one", int(now) - 90, "iris", "champion", "2"), now)
    second = Delivery("second-one", int(now) - 60, "iris", "champion", "3")
    table.accept(second, now)
    found = last_webhook(settings)
    assert found is not None
    assert (found.model, found.alias, found.version, found.done) == ("iris", "champion", "3", False)
    assert 59 <= found.age_s < 120
    table.done(second)
    text = shown(status(settings))
    assert "s ago: 'champion' of iris to version 3\n" in text


@pytest.mark.parametrize(
    ("version", "done", "words"),
    [("", True, "'champion' of iris taken away\n"), ("4", False, "to version 4, not carried out yet\n")],
)
def test_what_a_webhook_asked_for_is_in_words(version: str, done: bool, words: str) -> None:
    """An alias that was taken away, and a click that waits."""
    webhook = Webhook("2013-04-01T00:00:00+00:00", 3.0, "iris", "champion", version, done)
    found = Status("http://127.0.0.1:5010", {}, (), {}, "", {RELAY: Carrier("running")}, webhook)
    assert words in shown(found)
