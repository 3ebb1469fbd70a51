"""From alias to production and back, over real servers (D5, D9)."""

import hashlib
import time

import pytest

from contract.errors import FlightlineError
from pipelines import ledger
from pipelines.delivery import tracking_server
from pipelines.delivery.registry import (
    CHAMPION,
    STAGING,
    STAGING_EVIDENCE,
)
from pipelines.delivery.services import converge, recorded, stop_service
from pipelines.delivery.turns import changing
from pipelines.deploy import deploy_staging
from pipelines.promote import promote
from pipelines.reconcile import reconcile
from pipelines.rollback import rollback
from pipelines.status import status
from pipelines.track import track
from serving.models.desired import DesiredModel
from tests.pipelines.delivery.conftest import World, quiet


def test_staging_then_promotion_reaches_production(world: World) -> None:
    """A version that passed staging is served by production, and the ledger says since when and by whom."""
    registered = world.stage("straight")
    assert world.serves("production", "straight") in {"404", "503"}  # unknown there, or nothing is
    version = world.registry.by_alias("straight", STAGING)
    assert version.version == registered.version
    assert STAGING_EVIDENCE in version.tags
    deployed = promote("straight", world.settings, actor="ada", say=quiet)
    assert all(check.passed for check in deployed.checks)
    assert world.serves("production", "straight") == registered.version
    assert world.registry.aliases("straight")[CHAMPION] == registered.version
    entry = ledger.history(ledger.read(world.settings.ledger), "production", "straight")[-1]
    evidence = hashlib.sha256(version.tags[STAGING_EVIDENCE].encode()).hexdigest()
    assert (entry.who, entry.before, entry.evidence) == ("ada", None, evidence)
    rows = {(row.environment, row.model): row.version for row in status(world.settings).rows}
    assert rows["production", "straight"] == registered.version


def test_moving_the_alias_deploys(world: World) -> None:
    """What a person does in MLflow is what the reconciler carries out, once."""
    world.promote("clicked")
    second = world.stage("clicked", seed=1)
    world.registry.set_alias("clicked", CHAMPION, second.version)
    assert world.reconcile()["clicked"] == "deployed"
    assert world.serves("production", "clicked") == second.version
    assert world.reconcile()["clicked"] == "agrees"


@pytest.mark.slow
def test_an_interrupted_deployment_serves_what_ran_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during the smoke tests puts the previous version back."""
    first = world.promote("ctrlc")
    world.stage("ctrlc", seed=1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.delivery.placement.run_smoke", interrupt)
        with pytest.raises(KeyboardInterrupt):
            promote("ctrlc", world.settings, say=quiet)
    assert world.serves("production", "ctrlc") == first.version
    assert world.champion("ctrlc") == first.version
    again = promote("ctrlc", world.settings, say=quiet)
    assert world.serves("production", "ctrlc") == again.version != first.version


def test_a_production_that_is_gone_is_brought_back(world: World) -> None:
    """The reconciler starts a service that stopped, with what the ledger says."""
    registered = world.promote("gone")
    assert stop_service("production", world.settings)
    assert world.reconcile()["*"] == "repaired"
    assert world.serves("production", "gone") == registered.version


@pytest.mark.slow
def test_a_deployment_that_was_killed_is_undone(world: World) -> None:
    """Killed between desiring and testing, the untested version is served until somebody reconciles."""
    first = world.promote("killed")
    second = world.stage("killed", seed=1)
    wanted = recorded("production", ledger.read(world.settings.ledger), world.settings)
    untested = DesiredModel.of(second.version, str(world.settings.releases / second.digest), second.digest)
    converge("production", {**wanted, "killed": untested}, world.settings)
    assert world.serves("production", "killed") == second.version
    assert status(world.settings).services["production"] == "differs"
    with changing("production", world.settings):  # as while a deployer is at work
        assert status(world.settings).services["production"] == "being changed"
    assert status(world.settings).services["production"] == "differs"
    assert world.reconcile()["*"] == "repaired"
    assert world.serves("production", "killed") == first.version


def test_rollback_works_while_mlflow_is_stopped(world: World) -> None:
    """Back and forward need the ledger and kept releases only; the alias follows when MLflow answers."""
    first = world.promote("undone")
    second = world.promote("undone", seed=1)
    assert tracking_server.stop(world.settings)
    said: list[str] = []
    try:
        rollback("undone", world.settings, actor="ada", say=said.append)
        assert world.serves("production", "undone") == first.version
        assert any("not moved yet" in line for line in said)
        begun = time.monotonic()
        for refused in (
            lambda: track("undone", world.settings, world.folder / "undone-0", quiet),
            lambda: deploy_staging("undone", world.settings, say=quiet),
            lambda: promote("undone", world.settings, say=quiet),
            lambda: reconcile(world.settings, quiet),
        ):
            with pytest.raises(FlightlineError, match="MLflow does not answer at"):
                refused()
        assert time.monotonic() - begun < 20
        assert status(world.settings).mlflow.startswith("does not answer")
    finally:
        tracking_server.ensure(world.settings, quiet)
    assert world.registry.aliases("undone")[CHAMPION] == second.version
    world.reconcile()
    assert world.registry.aliases("undone")[CHAMPION] == first.version
    assert world.serves("production", "undone") == first.version
    rollback("undone", world.settings, forward=True, say=quiet)
    assert world.serves("production", "undone") == second.version
    with pytest.raises(FlightlineError, match="was rolled back from"):
        rollback("undone", world.settings, forward=True, say=quiet)
