"""Whatever is killed while a version takes over: callers are answered, and one look puts all in order."""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psutil
import pytest

from contract.errors import FlightlineError
from pipelines import ledger
from pipelines.delivery import tracking_server
from pipelines.delivery.services import running
from pipelines.delivery.standing import status
from pipelines.machine.processes import find
from pipelines.promote import promote
from pipelines.rollback import rollback
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import ROW, agrees, answered, deployer
from tests.pipelines.delivery.conftest import World, free_ports, quiet
from tests.pipelines.delivery.killed import BACK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.lengthy]

MOST = 80  # effects that no rollout comes near


def test_a_deployer_killed_before_any_effect_leaves_what_one_look_puts_in_order(world: World) -> None:
    """The table of kill points of a rollout: kill -9, look, reconcile, look, run it again, look."""
    model = "killed-off"
    world.promote(model)
    world.stage(model, **graphs.alike(model))
    table: list[str] = []
    for number in range(1, MOST):
        done = deployer(world, number, model)
        point = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
        table.append(point)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert point.startswith(f"effect {number}:"), point
        assert answered(world, model) <= {"1", "2"}, point
        world.reconcile()
        settled = agrees(world, model)
        if settled == "1":
            promote(model, world.settings, "2", actor="ada", say=quiet)
        agrees(world, model, "2")
        rollback(model, world.settings, say=quiet)
        agrees(world, model, "1")
    else:
        pytest.fail(f"a rollout did not end within {MOST} effects: {table}")
    agrees(world, model, "2")
    names = "\n".join(table)
    for part in (
        "rollouts/killed",
        "state/desired.json",
        "ledger.jsonl",
        "ledger.head",
        "registered-models/alias",
    ):
        assert part in names, names
    assert names.count("state/desired.json") >= 4  # beside, shadow, canary, all


def test_a_rollback_killed_before_any_effect_is_done_or_not_and_again_it_is(world: World) -> None:
    """Its own table of kill points: with no word to MLflow before the last of them."""
    model = "killed-back"
    world.promote(model)
    world.promote(model, seed=1)
    table: list[str] = []
    for number in range(1, MOST):
        done = deployer(world, number, model, version=BACK)
        point = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
        table.append(point)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert point.startswith(f"effect {number}:"), point
        assert answered(world, model) <= {"1", "2"}, point
        world.reconcile()
        if agrees(world, model) == "2":
            rollback(model, world.settings, say=quiet)
        agrees(world, model, "1")
        rollback(model, world.settings, forward=True, say=quiet)
        agrees(world, model, "2")
    else:
        pytest.fail(f"a rollback did not end within {MOST} effects: {table}")
    agrees(world, model, "1")
    names = "\n".join(table)
    for part in ("pending-aliases", "state/desired.json", "ledger.jsonl", "registered-models/alias"):
        assert part in names, names


def test_mlflow_killed_during_a_rollout_costs_the_alias_some_time_and_nothing_else(world: World) -> None:
    """Kill -9 once the version is loaded: it takes over, and its alias follows when MLflow is back."""
    model = "orphaned"
    world.promote(model)
    world.stage(model, **graphs.alike(model))
    said: list[str] = []

    def kill(line: str) -> None:
        said.append(line)
        server = find(world.settings.processes, tracking_server.NAME)
        if "ok   golden answers" in line and server is not None:
            os.kill(server.pid, signal.SIGKILL)

    try:
        promote(model, world.settings, "2", actor="ada", say=kill)
        assert any("is not moved yet" in line for line in said)
        assert answered(world, model) == {"2"}
        (row,) = [
            row
            for row in status(world.settings).rows
            if (row.environment, row.model) == ("production", model)
        ]
        assert (row.version, row.alias, row.awaited) == ("2", "", "2")
        assert row.alias_unknown.startswith("registry not reachable: MLflow does not answer")
    finally:
        tracking_server.ensure(world.settings, quiet)
    assert world.champion(model) == "1"
    world.reconcile()
    agrees(world, model, "2")


@contextmanager
def calling(world: World, model: str) -> Iterator[list[int | str]]:
    """A caller who asks without a pause; the statuses of all answers, or the error's name."""
    seen: list[int | str] = []
    end = threading.Event()

    def call() -> None:
        url = f"{world.settings.service_url('production')}/predict"
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not end.is_set():
                try:
                    seen.append(client.post(url, params={"model": model}, json={"row": ROW}).status_code)
                except httpx.TransportError as error:
                    seen.append(type(error).__name__)
                    end.wait(0.05)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield seen
    finally:
        end.set()
        caller.join(30)


@pytest.mark.parametrize("step", ["golden answers", "shadow 100 %", "canary 25 %"])
def test_a_service_killed_during_a_rollout_comes_back_with_the_champion(world: World, step: str) -> None:
    """Kill -9 of every process of it: the version is refused, and the last good one is started again."""
    model = f"dying-{step.split(maxsplit=1)[0]}"
    world.promote(model)
    world.stage(model, **graphs.alike(model))

    def kill(line: str) -> None:
        service = running("production", world.settings)
        if f"ok   {step}" in line and service is not None:
            for process in [
                *psutil.Process(service.pid).children(recursive=True),
                psutil.Process(service.pid),
            ]:
                process.kill()

    with pytest.raises(FlightlineError) as refusal:
        promote(model, world.settings, "2", actor="ada", say=kill)
    agrees(world, model, "1")
    tried = ledger.read(world.settings.ledger)[-1]
    assert (tried.action, tried.after.version) == ("refused", "2"), str(refusal.value)
    promote(model, world.settings, "2", actor="ada", why="the host did it", again=True, say=quiet)
    agrees(world, model, "2")


def test_a_disk_without_room_for_the_ledger_changes_nothing(world: World) -> None:
    """The version answered everybody already; what cannot be written down is undone, and later done."""
    model = "nospace"
    world.stage(model)
    # The ledger becomes the largest file that the deployer writes, so that a limit stops that one alone.
    promote(model, world.settings, actor="ada", why="a long story " * 5_000, say=quiet)
    world.stage(model, **graphs.alike(model))
    room = world.settings.ledger.stat().st_size + 100

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = deployer(world, 0, model, limit)
    assert done.returncode != 0
    assert "ledger.jsonl cannot be written (File too large)" in done.stderr
    agrees(world, model, "1")
    promote(model, world.settings, "2", actor="ada", say=quiet)
    agrees(world, model, "2")


def test_a_rollback_needs_no_registry_and_little_time(world: World) -> None:
    """MLflow is stopped, callers go on, and in under five seconds the last version answers them all."""
    model = "cut-off"
    world.promote(model)
    world.promote(model, seed=1)
    (port,) = free_ports(1)  # where nobody listens
    cut = replace(world.settings, mlflow_port=port, tracking_uri=f"http://127.0.0.1:{port}")
    with calling(world, model) as seen:
        began = time.monotonic()
        assert rollback(model, cut, actor="ada", say=quiet).version == "1"
        took = time.monotonic() - began
        assert answered(world, model) == {"1"}
    assert took < 5
    assert set(seen) == {200}
    assert world.champion(model) == "2"  # MLflow has not heard of it yet
    world.reconcile()
    agrees(world, model, "1")
