"""The champion is what the ledger says is live, else what the alias names; it is never guessed."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines.delivery.champion import champion
from pipelines.delivery.qualifying import qualified
from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import World, settings_in


@pytest.mark.unit
def test_an_mlflow_that_never_ran_has_no_champion(tmp_path: Path) -> None:
    """Nothing needs to run for the very first model."""
    assert champion("toy", settings_in(tmp_path)) is None


@pytest.mark.unit
@pytest.mark.parametrize("owned", [True, False])
def test_a_registry_that_does_not_answer_is_no_absence(tmp_path: Path, owned: bool) -> None:
    """There may be a champion that it knows: nothing is accepted without a comparison."""
    settings = settings_in(tmp_path)
    if owned:
        settings.mlflow_database.touch()
    else:
        settings = dataclasses.replace(settings, owns_tracking=False)
    with pytest.raises(FlightlineError, match="MLflow does not answer"):
        champion("toy", settings)


def another_machine(world: World, folder: Path) -> Settings:
    """A machine with a ledger of its own that trusts the same keys and shares the registry."""
    shutil.copytree(world.settings.keys, folder / "keys")
    return dataclasses.replace(world.settings, var=folder, owns_tracking=False)


def test_without_a_ledger_the_alias_decides(world: World, tmp_path: Path) -> None:
    """Another machine that has served nothing yet compares with the champion of the shared registry."""
    registered = world.promote("shared")
    elsewhere = another_machine(world, tmp_path / "var")
    found = champion("shared", elsewhere)
    assert found is not None
    assert found.digest == registered.digest
    assert champion("nosuch", elsewhere) is None
    assert champion("shared", elsewhere, "staging") is None


@pytest.mark.slow
def test_without_a_ledger_a_stale_comparison_is_refused_too(world: World, tmp_path: Path) -> None:
    """The champion's own version may go there; one that was compared with nothing may not replace it."""
    uncompared = world.stage("joined")
    champions = world.promote("joined", seed=1)
    elsewhere = another_machine(world, tmp_path / "var")
    registry = world.registry
    assert qualified(registry, registry.by_number("joined", champions.version), elsewhere)
    with pytest.raises(FlightlineError, match="was compared with no champion"):
        qualified(registry, registry.by_number("joined", uncompared.version), elsewhere)
