"""Each command is cut off after each of its effects in turn: nothing is half done, and again it converges.

An effect is a call to MLflow, or bytes that reach the disk for good. The interrupt comes once, right after
it; whatever the command then does to tidy up works.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from contract.attestation import read_trust
from pipelines import ledger
from pipelines.delivery.registry import CHALLENGER, DIGEST, STAGING
from pipelines.delivery.releases import fetch, require_staged
from pipelines.deploy import deploy_staging
from pipelines.promote import promote
from pipelines.register import QUALIFIED, register
from pipelines.rollback import rollback
from pipelines.track import COMPLETE, track
from tests.pipelines.delivery.conftest import World, quiet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.lengthy]

MOST = 80  # effects that no command comes near; one that never ends is not to hang the suite
WRITES = (
    "create_experiment", "create_run", "log_batch", "log_artifact", "log_artifacts", "set_tag",
    "set_terminated", "create_registered_model", "create_model_version", "set_model_version_tag",
    "delete_model_version_tag", "set_registered_model_alias", "update_model_version",
)  # fmt: skip


@contextmanager
def cut_off_after(number: int) -> Iterator[list[str]]:
    """Ctrl-C right after the effect `number`, from one; 0 is before the first. Yields what was done."""
    done: list[str] = []
    main = threading.current_thread()

    def counted(name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if threading.current_thread() is not main:
                return effect(*words, **more)
            if number == 0 and not done:
                done.append("nothing")
                raise KeyboardInterrupt
            answer = effect(*words, **more)
            done.append(name)
            if len(done) == number:
                raise KeyboardInterrupt
            return answer

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
        patch.setattr(os, "fsync", counted("fsync", os.fsync))
        for name in ("replace", "rename"):
            patch.setattr(Path, name, counted(name, getattr(Path, name)))
        yield done


@dataclass(frozen=True)
class Case:
    """One command on one model: its next piece of work, and what must be true once it is done."""

    prepare: Callable[[int], Any]  # makes something to do; its answer is given to the other two
    run: Callable[[Any], object]
    check: Callable[[Any], None]


def nothing_is_half_done(world: World, model: str) -> None:
    """Versions are whole and verify, and service, ledger and alias agree or are noted to."""
    settings, registry = world.settings, world.registry
    for version in registry.versions(model)[:1]:
        assert {DIGEST, QUALIFIED, "contract", "as_of"} <= version.tags.keys()
        fetch(registry, version, settings)
    assert not list(settings.var.rglob(".part-*"))
    placed = ledger.live(ledger.read(settings.ledger), "production", model)
    served = world.serves("production", model)
    noted = settings.var / "pending-aliases" / f"production.{model}.json"
    if placed is None:
        assert served in {"404", "503"}
        assert world.champion(model) is None
    else:
        assert served == placed.version
        assert world.champion(model) == placed.version or noted.is_file()


def tracking(world: World, model: str) -> Case:
    """`track` of one bundle after another."""

    def check(built: Any) -> None:
        _, bundle = built
        experiment = world.registry.client.get_experiment_by_name(model)
        (run,) = world.registry.client.search_runs(
            [experiment.experiment_id], f"tags.{DIGEST} = '{bundle.digest}'"
        )
        assert (run.data.tags[COMPLETE], run.info.status) == ("yes", "FINISHED")

    return Case(
        lambda number: world.build(model, number),
        lambda built: track(model, world.settings, built[0], quiet),
        check,
    )


def registration(world: World, model: str) -> Case:
    """`register` of one bundle after another."""

    def check(built: Any) -> None:
        _, bundle = built
        (one,) = [item for item in world.registry.versions(model) if item.digest == bundle.digest]
        assert world.registry.aliases(model)[CHALLENGER] == one.version

    return Case(
        lambda number: world.build(model, number),
        lambda built: register(model, world.settings, built[0], quiet),
        check,
    )


def staging(world: World, model: str) -> Case:
    """`deploy staging` of one version after another."""

    def check(registered: Any) -> None:
        assert world.registry.aliases(model)[STAGING] == registered.version
        assert world.serves("staging", model) == registered.version
        version = world.registry.by_number(model, registered.version)
        assert require_staged(version, read_trust(world.settings.trust))

    return Case(
        lambda number: world.register(model, number),
        lambda _: deploy_staging(model, world.settings, say=quiet),
        check,
    )


def promotion(world: World, model: str) -> Case:
    """`promote` of the second version, from the first."""

    def prepare(number: int) -> str:
        if number == 0:
            world.promote(model)
            return world.stage(model, seed=1).version
        rollback(model, world.settings, say=quiet)
        return "2"

    return Case(
        prepare,
        lambda version: promote(model, world.settings, version, actor="ada", say=quiet),
        lambda version: in_production(world, model, version),
    )


def going_back(world: World, model: str) -> Case:
    """`rollback` to the first version, from the second."""

    def prepare(number: int) -> str:
        if number == 0:
            world.promote(model)
            world.promote(model, seed=1)
        else:
            rollback(model, world.settings, forward=True, say=quiet)
        return "1"

    def run(version: str) -> None:
        if world.serves("production", model) != version:  # cut off after its last effect it is done
            rollback(model, world.settings, say=quiet)

    def check(version: str) -> None:
        world.reconcile()
        in_production(world, model, version)

    return Case(prepare, run, check)


def in_production(world: World, model: str, version: str) -> None:
    """Assert that service, alias and ledger say `version`, and that nothing waits to be done."""
    placed = ledger.live(ledger.read(world.settings.ledger), "production", model)
    assert placed is not None
    assert world.serves("production", model) == world.champion(model) == placed.version == version
    assert not list((world.settings.var / "pending-aliases").glob(f"production.{model}.*"))


@pytest.mark.parametrize("make", [tracking, registration, staging, promotion, going_back])
def test_cut_off_after_any_effect_nothing_is_half_done_and_again_it_converges(
    world: World, make: Callable[[World, str], Case]
) -> None:
    """The table of kill points of one command: interrupt, look, run it again, look again."""
    model = f"cut{make.__name__.replace('_', '')}"
    case = make(world, model)
    for number in range(MOST):
        given = case.prepare(number)
        with cut_off_after(number) as done:
            try:
                case.run(given)
            except KeyboardInterrupt:
                pass
            else:
                break
        nothing_is_half_done(world, model)
        case.run(given)
        case.check(given)
        nothing_is_half_done(world, model)
    else:
        pytest.fail(f"{make.__name__} did not end within {MOST} effects: {done}")
    case.check(given)
    assert number > 3, f"the wrappers saw only {done}"
