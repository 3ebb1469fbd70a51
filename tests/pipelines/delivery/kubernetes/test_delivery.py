"""The same rollout as on this machine, on a cluster: staging, production, a refusal, the way back."""

import pytest

from pipelines import ledger
from pipelines.delivery.backend import backend
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.registry import STAGING_EVIDENCE
from pipelines.delivery.services import recorded
from pipelines.delivery.standing import status
from pipelines.promote import promote
from pipelines.rollback import rollback
from serving.models.desired import DesiredModel
from tests.pipelines.delivery.conftest import World, quiet
from tests.pipelines.delivery.kubernetes.fake_cluster import FakeCluster

pytestmark = [pytest.mark.kubectl, pytest.mark.slow]


def test_a_version_goes_all_the_way_and_back(clustered: tuple[World, FakeCluster]) -> None:
    """One command for both backends; the ledger, the pods and the callers agree after each (C8)."""
    world, cluster = clustered
    settings, model = world.settings, "clustered"
    assert status(settings).services == {"staging": "stopped", "production": "stopped"}
    first = world.promote(model)
    assert world.serves("production", model) == world.serves("staging", model) == first.version
    assert world.registry.by_number(model, first.version).tags[STAGING_EVIDENCE]
    assert status(settings).services == {"staging": "serving", "production": "serving"}
    assert cluster.one("deployment/flightline")["metadata"]["annotations"]["flightline/generation"] == "1"

    second = world.stage(model, seed=1)
    deployed = promote(model, settings, actor="ada", say=quiet)
    assert [step.step for step in deployed.steps] == ["golden answers", "shadow 100 %", "canary 25 %"]
    assert world.serves("production", model) == second.version

    third = world.stage(model, seed=2)
    cluster.faults(unpullable=True)
    with pytest.raises(VersionRefusedError, match="the image of loader cannot be pulled"):
        promote(model, settings, third.version, actor="ada", say=quiet)
    cluster.faults()
    assert world.serves("production", model) == world.champion(model) == second.version
    assert [entry.action for entry in entries(world, model)] == ["deploy", "deploy", "refused"]
    assert world.reconcile()[model] == "agrees"
    assert backend("production", settings).intact(recorded_models(world))

    back = rollback(model, settings, actor="ada", say=quiet)
    assert (back.version, world.serves("production", model)) == (first.version, first.version)
    assert world.champion(model) == first.version
    assert [entry.action for entry in entries(world, model)][-1] == "rollback"

    backend("production", settings).stop()
    assert status(settings).services["production"] == "stopped"
    assert world.reconcile()["*"] == "repaired"
    assert status(settings).services["production"] == "serving"


def entries(world: World, model: str) -> list[ledger.Entry]:
    """What the ledger says of a model in production."""
    found = ledger.read(world.settings.ledger)
    return [entry for entry in found if (entry.environment, entry.model) == ("production", model)]


def recorded_models(world: World) -> dict[str, DesiredModel]:
    """What the ledger says should run in production."""
    return recorded("production", ledger.read(world.settings.ledger), world.settings)
