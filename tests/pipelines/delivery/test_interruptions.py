"""Whatever is cut off, or happens at the same moment: a rollback stays, and so does a person's click."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contract.errors import FlightlineError
from pipelines.delivery import aliases, placement
from pipelines.delivery.registry import CHAMPION, REFUSED, Registry, connect
from pipelines.machine.settings import Settings
from pipelines.promote import promote
from pipelines.register import Registered
from pipelines.rollback import rollback
from serving.models.desired import Ack, write_ack
from tests.pipelines.delivery.conftest import World, quiet


def killed(*_: object) -> Registry:
    """The end of a process, as far as what is left behind goes."""
    raise KeyboardInterrupt


def cut_off_rollback(world: World, model: str, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """Version 1 is live again and in the ledger, and the alias still names version 2; returns version 1."""
    first = world.promote(model)
    world.promote(model, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(aliases, "connect", killed)
        with pytest.raises(KeyboardInterrupt):
            rollback(model, world.settings, say=quiet)
    assert world.serves("production", model) == first.version
    assert world.champion(model) == "2"
    return first


@pytest.mark.slow
def test_a_rollback_cut_off_before_its_alias_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note was written before, so the next command that reaches MLflow moves the alias."""
    first = cut_off_rollback(world, "cutback", monkeypatch)
    assert world.reconcile()["cutback"] == "agrees"
    assert world.champion("cutback") == first.version
    assert world.serves("production", "cutback") == first.version


@pytest.mark.slow
def test_a_rollback_whose_note_was_lost_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias that names what the ledger says was rolled back from is repaired, not carried out."""
    first = cut_off_rollback(world, "noteless", monkeypatch)
    (world.settings.var / "pending-aliases" / "production.noteless.json").unlink()
    assert world.reconcile()["noteless"] == "repaired"
    assert world.champion("noteless") == first.version
    assert world.serves("production", "noteless") == first.version
    reason = world.registry.by_number("noteless", "2").tags[REFUSED]
    assert "was left for version 1" in reason
    assert "pipelines.promote noteless --version 2" in reason


@pytest.mark.slow
def test_a_rollback_that_fails_leaves_no_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not happen must not move the alias later."""
    world.promote("failing")
    second = world.promote("failing", seed=1)

    def broken(*_: object) -> None:
        raise FlightlineError("nothing answers", "an answer", "Look")

    with monkeypatch.context() as patch:
        patch.setattr(placement, "run_smoke", broken)
        with pytest.raises(FlightlineError, match="nothing answers"):
            rollback("failing", world.settings, say=quiet)
    assert not list((world.settings.var / "pending-aliases").glob("*failing*"))
    assert world.serves("production", "failing") == world.champion("failing") == second.version


@contextmanager
def running(work: object) -> Iterator[threading.Thread]:
    """A thread that is joined at the end."""
    assert callable(work)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)


@pytest.mark.slow
def test_the_reconciler_waits_for_a_rollback_to_finish(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between ledger and alias of a rollback there is no moment in which the reconciler may look."""
    first = world.promote("gap")
    world.promote("gap", seed=1)
    world.registry.models()  # imports the client, so that both threads get on
    inside, leave = threading.Event(), threading.Event()

    def slow(settings: Settings) -> Registry:
        inside.set()
        assert leave.wait(60)
        return connect(settings)

    monkeypatch.setattr(aliases, "connect", slow)
    found: dict[str, str] = {}
    with running(lambda: rollback("gap", world.settings, say=quiet)):
        assert inside.wait(60)
        with running(lambda: found.update(world.reconcile())) as reconciling:
            reconciling.join(1.5)
            assert reconciling.is_alive()
            leave.set()
    assert found["gap"] == "agrees"
    assert world.serves("production", "gap") == world.champion("gap") == first.version


@pytest.mark.slow
def test_a_click_during_a_promotion_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias is moved only from where the command saw it."""
    world.promote("midway")
    world.stage("midway", seed=1)
    third = world.register("midway", seed=2)
    honest = placement.run_smoke

    def clicked(*given: object) -> object:
        world.registry.set_alias("midway", CHAMPION, third.version)
        return honest(*given)  # type: ignore[arg-type]

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(placement, "run_smoke", clicked)
        promote("midway", world.settings, say=said.append)
    assert world.champion("midway") == third.version
    assert any("moved to version 3 meanwhile" in line for line in said)
    assert world.reconcile()["midway"] == "refused"  # the third never passed staging
    assert world.champion("midway") == "2"


def test_an_acknowledgement_under_a_reused_pid_does_not_count(world: World) -> None:
    """The pid of a killed worker may belong to any process now; only the service's own workers answer."""
    state = world.settings.state("production")
    stale = Ack(generation=0, worker=str(os.getpid()), served={}, refused={})
    write_ack(state, stale)
    try:
        registered = world.promote("reused")
        assert world.serves("production", "reused") == registered.version
    finally:
        (state / "acks" / f"{os.getpid()}.json").unlink(missing_ok=True)


@pytest.mark.slow
def test_a_proxy_in_the_environment_is_not_on_the_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens on this machine is reached directly."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    registered = world.promote("direct")
    assert world.reconcile()["direct"] == "agrees"
    assert world.serves("production", "direct") == registered.version
