"""A deployer that is killed, and whether all agree afterwards: service, alias, ledger and desired state."""

import os
import subprocess
import sys
from collections.abc import Callable

import httpx

from pipelines import ledger
from pipelines.delivery.backend import backend
from pipelines.delivery.services import unfinished
from pipelines.machine.settings import ROOT, Settings
from serving.models.desired import Desired
from tests.pipelines.delivery.conftest import World

ROW = {"width": 1.0, "height": 1.0, "letter": "A"}


def environment(settings: Settings) -> dict[str, str]:
    """What a process of its own needs to work in the same place."""
    return {**os.environ, **settings.variables()}


def deployer(
    world: World, number: int, model: str, before: Callable[[], None] | None = None, version: str = "2"
) -> subprocess.CompletedProcess[str]:
    """A deployer that promotes `version`, or goes `back`, and is killed before its effect `number`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.pipelines.delivery.killed", str(number), model, version],
        cwd=ROOT,
        env=environment(world.settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=before,
    )


def desired(world: World) -> Desired:
    """What production is to serve."""
    found = backend("production", world.settings).desired()
    assert found is not None
    return found


def answered(world: World, model: str) -> set[str]:
    """The versions that answer callers who name none: some dozens, so that a canary shows."""
    url = f"{world.settings.service_url('production')}/predict"
    with httpx.Client(trust_env=False) as client:
        answers = [client.post(url, params={"model": model}, json={"row": ROW}) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    return {str(answer.json()["version"]) for answer in answers}


def agrees(world: World, model: str, version: str | None = None) -> str:
    """Assert that one version serves, and that alias, ledger and desired state say so; return it."""
    placed = ledger.live(ledger.read(world.settings.ledger), "production", model)
    assert placed is not None
    found = desired(world).models[model]
    assert (found.default, set(found.versions)) == (placed.version, {placed.version})
    assert (found.split, found.mirror) == ({}, {})
    assert not unfinished("production", world.settings)
    assert answered(world, model) == {placed.version}
    assert world.champion(model) == placed.version
    assert not list((world.settings.var / "pending-aliases").glob(f"production.{model}.*"))
    assert version in {None, placed.version}
    return placed.version
