"""A click in MLflow is carried out, whatever happens to webhook, relay or MLflow (D9)."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from contract.errors import FlightlineError
from pipelines import ledger
from pipelines.delivery.registry import REFUSED
from pipelines.delivery.replacing import replace_secret, replace_store_key
from pipelines.delivery.services import unfinished
from pipelines.delivery.standing import status
from pipelines.delivery.tracking_server import NAME as MLFLOW
from pipelines.delivery.tracking_server import program
from pipelines.local import EVERY_S, RECONCILER, RELAY, relay
from pipelines.machine.processes import start_all, stop
from pipelines.machine.settings import ROOT
from pipelines.promotion.webhooks import NAME, SECRET, secret
from serving.models.desired import read_desired
from tests.pipelines.delivery.conftest import quiet
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.clicks import MODEL, SOON_S, Clicks, clicking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def all_of_it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clicks]:
    """MLflow, services, relay and reconciler, and a first version that a click made champion."""
    with clicking(tmp_path_factory.mktemp("clicks")) as clicks:
        first = clicks.staged()
        clicks.registry.set_alias(MODEL, "champion", first.version)
        assert eventually(lambda: clicks.agrees(first.version), SOON_S)
        yield clicks


@pytest.fixture
def clicks(all_of_it: Clicks) -> Clicks:
    """All of it running, and in agreement."""
    all_of_it.up()
    assert eventually(lambda: all_of_it.agrees(all_of_it.live), SOON_S)
    return all_of_it


@pytest.mark.parametrize("without", [RELAY, RECONCILER])
def test_either_way_a_click_is_carried_out(clicks: Clicks, without: str) -> None:
    """A webhook that is lost costs seconds; without a reconciler the webhook is enough."""
    version = clicks.staged()
    clicks.kill(without)
    began = time.monotonic()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), EVERY_S + SOON_S)
    print(f"without the {without}: {time.monotonic() - began:.2f} s")


def test_the_status_says_who_carries_out_clicks_and_what_came_last(clicks: Clicks) -> None:
    """Both run and have nothing to do; the last webhook is the last click; one that was killed is stopped."""
    version = clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version) and clicks.pending() == 0, SOON_S)
    found = status(clicks.settings)
    assert {name: carrier.state for name, carrier in found.carriers.items()} == {
        RELAY: "running",
        RECONCILER: "running",
    }
    assert found.webhook is not None
    assert (found.webhook.alias, found.webhook.version) == ("champion", version.version)
    assert found.webhook.done
    assert found.webhook.age_s < SOON_S
    clicks.kill(RELAY)
    assert status(clicks.settings).carriers[RELAY].state == "stopped"


def test_a_click_is_carried_out_with_a_replaced_secret(clicks: Clicks) -> None:
    """The relay tells MLflow what they share from now on; what was signed with the old one is refused."""
    clicks.kill(RECONCILER)  # it would carry out a click whose webhook is refused
    log = clicks.settings.logs / "relay.log"
    old, told = secret(clicks.settings), log.read_text().count("the webhook to")
    replace_secret(clicks.settings.keys, SECRET, lambda: b"another-secret")
    assert eventually(lambda: log.read_text().count("the webhook to") > told, SOON_S)
    assert clicks.deliver(key=old).status_code == 401
    version = clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)


def test_a_click_is_carried_out_with_a_replaced_key_of_mlflows(clicks: Clicks) -> None:
    """The webhook that is in its database is read with the new key, without the relay's telling it again."""
    clicks.kill(RECONCILER)
    for name in (RELAY, MLFLOW):
        assert stop(clicks.settings.processes, name)
    assert replace_store_key(clicks.settings, quiet) == 1
    start_all([program(clicks.settings)], clicks.settings.processes, clicks.settings.logs, quiet)
    assert [webhook.name for webhook in clicks.registry.client.list_webhooks()] == [NAME]
    clicks.up()
    clicks.kill(RECONCILER)
    version = clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)


LONG_CANARY = """
import sys
import msgspec
from pipelines.delivery import placement
from pipelines.delivery.rollout_policy import Step
from pipelines.machine.settings import Settings
from pipelines.promote import promote
from tests.pipelines.delivery.conftest import QUICK

canary = (Step(percent=25, requests=20, longest_s=400, least_s=300),)
placement.read_rollout = lambda *_: msgspec.structs.replace(QUICK, canary=canary)
promote(sys.argv[1], Settings.from_environment(), sys.argv[2], actor="ada")
"""


def test_the_canary_of_a_killed_deployer_is_ended_by_the_reconciler(clicks: Clicks) -> None:
    """Nobody runs a command: within its interval every caller is the champion's again."""
    live, version = clicks.live, clicks.staged()
    clicks.kill(RELAY)  # it is not the one

    def split() -> dict[str, float]:
        desired = read_desired(clicks.settings.state("production"))
        return dict(desired.models[MODEL].split) if desired else {}

    deployer = subprocess.Popen(
        [sys.executable, "-c", LONG_CANARY, MODEL, version.version],
        cwd=ROOT,
        env={**os.environ, **clicks.settings.variables()},
    )
    try:
        assert eventually(lambda: split().get(version.version) == 25, SOON_S)
        assert clicks.live == live
    finally:
        deployer.kill()
        deployer.wait(30)
    began = time.monotonic()
    assert split(), "the canary goes on until somebody looks"
    assert eventually(lambda: not split() and not unfinished("production", clicks.settings), SOON_S)
    took = time.monotonic() - began
    assert clicks.agrees(live)
    # One interval until it looks, and what a round takes; as much again for a machine that others use, too.
    assert took < 2 * EVERY_S + 5, took


def test_moving_the_alias_back_is_a_rollback(clicks: Clicks) -> None:
    """To the version that ran before; the one that was left is then not to be had by a click."""
    before, version = clicks.live, clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    clicks.registry.set_alias(MODEL, "champion", before)
    assert eventually(lambda: clicks.agrees(before), SOON_S)
    last = ledger.read(clicks.settings.ledger)[-1]
    assert (last.action, last.why) == (
        "rollback",
        "the alias was moved back in MLflow, which does not say by whom",
    )
    with pytest.raises(FlightlineError, match=f"was left for version {before}"):
        clicks.registry.set_alias(MODEL, "champion", version.version)


def test_a_rollback_by_a_click_that_cannot_be_done_is_refused(clicks: Clicks) -> None:
    """The release of the version before was damaged: what runs stays, and the alias comes back to it."""
    before, version = clicks.live, clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    digest = clicks.registry.by_number(MODEL, before).digest
    graph = clicks.settings.releases / digest / "bundle" / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole + b"\0")
    try:
        clicks.registry.set_alias(MODEL, "champion", before)
        assert eventually(lambda: REFUSED in clicks.registry.by_number(MODEL, before).tags, SOON_S)
        assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    finally:
        graph.write_bytes(whole)
    assert "changed model.onnx" in clicks.registry.by_number(MODEL, before).tags[REFUSED]


def test_a_doubled_webhook_deploys_once(clicks: Clicks) -> None:
    """The same delivery is refused; another one about the same click finds nothing to do."""
    version = clicks.staged()
    clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    before = clicks.count()
    assert clicks.deliver(identity="one-and-only", version=version.version).status_code == 202
    assert clicks.deliver(identity="one-and-only", version=version.version).status_code == 409
    assert eventually(lambda: clicks.pending() == 0, SOON_S)
    assert clicks.count() == before
    assert clicks.agrees(version.version)


def test_a_forged_webhook_does_nothing(clicks: Clicks) -> None:
    """Nor would a genuine one that lies: what counts is the alias."""
    unstaged = clicks.registered()
    live, before = clicks.live, clicks.count()
    assert clicks.deliver(key="guessed", version=unstaged.version).status_code == 401
    assert clicks.deliver(version=unstaged.version).status_code == 202
    assert eventually(lambda: clicks.pending() == 0, SOON_S)
    assert (clicks.count(), clicks.agrees(live)) == (before, True)


def test_a_click_survives_the_end_of_mlflow(clicks: Clicks) -> None:
    """MLflow is killed after the click; the relay is told and keeps it; all agree once MLflow is back."""
    version = clicks.staged()
    live = clicks.live
    for name in (RELAY, RECONCILER):
        assert stop(clicks.settings.processes, name)
    clicks.registry.set_alias(MODEL, "champion", version.version)
    clicks.kill(MLFLOW)
    alone = replace(relay(clicks.settings), ready_path="/livez")  # it is ready only once MLflow knows it
    start_all([alone], clicks.settings.processes, clicks.settings.logs, quiet)
    assert clicks.deliver(version=version.version).status_code == 202
    assert clicks.pending() == 1
    assert clicks.live == live
    clicks.up()
    assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    assert eventually(lambda: clicks.pending() == 0, SOON_S)


def test_what_goes_round_the_guard_is_refused_by_the_deployer(clicks: Clicks) -> None:
    """The second layer: the alias goes back, the reason is on the version, production is untouched."""
    unstaged = clicks.registered()
    live, before = clicks.live, clicks.count()
    clicks.database(
        "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = 'champion'",
        unstaged.version,
        MODEL,
    )
    assert eventually(lambda: REFUSED in clicks.registry.by_number(MODEL, unstaged.version).tags, SOON_S)
    assert eventually(lambda: clicks.agrees(live), SOON_S)
    assert "did not pass staging" in clicks.registry.by_number(MODEL, unstaged.version).tags[REFUSED]
    assert clicks.count() == before


def test_a_deleted_alias_is_restored(clicks: Clicks) -> None:
    """Taking it away, past the guard, stops nothing."""
    live = clicks.live
    clicks.database("DELETE FROM registered_model_aliases WHERE name = ? AND alias = 'champion'", MODEL)
    assert clicks.champion(MODEL) is None
    assert eventually(lambda: clicks.agrees(live), SOON_S)


def test_an_alias_in_another_case_is_explained_on_the_version(clicks: Clicks) -> None:
    """Where it came past the guard, or is older than it."""
    unstaged = clicks.registered()
    live = clicks.live
    clicks.database(
        "INSERT INTO registered_model_aliases (alias, version, name, workspace) "
        "SELECT 'Champion', ?, name, workspace FROM registered_models WHERE name = ?",
        unstaged.version,
        MODEL,
    )
    try:
        assert eventually(lambda: REFUSED in clicks.registry.by_number(MODEL, unstaged.version).tags, SOON_S)
        reason = clicks.registry.by_number(MODEL, unstaged.version).tags[REFUSED]
        assert "the alias 'Champion' is not 'champion', and nothing acts on it" in reason
        assert clicks.agrees(live)
    finally:
        clicks.registry.client.delete_registered_model_alias(MODEL, "Champion")


def test_of_two_promotions_at_once_the_later_is_decided_on_fresh_facts(clicks: Clicks) -> None:
    """Both were compared with what was live before: one is deployed, and the other no longer fits."""
    one, other = clicks.staged(), clicks.staged()
    before = clicks.count()
    for version in (one, other):
        clicks.registry.set_alias(MODEL, "champion", version.version)
    assert eventually(lambda: clicks.count() > before and clicks.pending() == 0, SOON_S)
    assert eventually(lambda: clicks.agrees(clicks.live), SOON_S)
    assert clicks.live in {one.version, other.version}
    loser = other if clicks.live == one.version else one
    assert clicks.count() == before + 1
    if loser is other:  # it was named when its turn came
        assert "was compared with" in clicks.registry.by_number(MODEL, other.version).tags[REFUSED]
    with pytest.raises(FlightlineError, match="was compared with"):
        clicks.registry.set_alias(MODEL, "champion", loser.version)
