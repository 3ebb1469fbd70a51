"""What does not qualify never reaches production, and a person can read why."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import sign
from contract.errors import BundleError, FlightlineError
from contract.statements import StagingEvidence
from monitoring.decision import Attempt
from pipelines import ledger
from pipelines.building import attempts
from pipelines.delivery.evidence import NOTICE
from pipelines.delivery.registry import (
    CHAMPION,
    REFUSED,
    STAGING_EVIDENCE,
)
from pipelines.delivery.releases import open_release
from pipelines.deploy import deploy_production, deploy_staging
from pipelines.promote import promote
from pipelines.reconcile import reconcile
from pipelines.register import register
from pipelines.rollback import rollback
from pipelines.staging.checks import Check
from tests.pipelines.delivery.conftest import World, qualify, quiet


def test_a_version_without_staging_is_refused_and_the_alias_goes_back(world: World) -> None:
    """Moving the alias by hand to an untested version changes nothing; the reason stands on the version."""
    first = world.promote("hasty")
    second = world.register("hasty", seed=1)
    world.registry.set_alias("hasty", CHAMPION, second.version)
    assert world.reconcile()["hasty"] == "refused"
    assert world.registry.aliases("hasty")[CHAMPION] == first.version
    assert "did not pass staging" in world.registry.by_number("hasty", second.version).tags[REFUSED]
    assert world.serves("production", "hasty") == first.version


def test_a_tampered_release_is_refused(world: World) -> None:
    """Changed bytes, in MLflow's store or in the kept release, stop before production."""
    first = world.promote("tampered")
    second = world.stage("tampered", seed=1)
    kept = world.settings.releases / second.digest / "bundle" / "model.onnx"
    original = kept.read_bytes()
    kept.write_bytes(original + b"\0")
    with pytest.raises(BundleError, match=r"changed model\.onnx"):
        promote("tampered", world.settings, say=quiet)
    assert world.serves("production", "tampered") == first.version
    assert world.registry.aliases("tampered")[CHAMPION] == first.version
    assert "changed model.onnx" in world.registry.by_number("tampered", second.version).tags[REFUSED]
    shutil.rmtree(world.settings.releases / second.digest)
    stored = next(
        (world.settings.var / "mlartifacts").glob(f"*/{second.run_id}/artifacts/bundle/golden.json")
    )
    stored.write_bytes(stored.read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"changed golden\.json"):
        promote("tampered", world.settings, say=quiet)
    assert not (world.settings.releases / second.digest).exists()
    assert world.serves("production", "tampered") == first.version


def test_evidence_of_another_version_or_by_another_key_is_refused(world: World) -> None:
    """Staging's evidence counts only for its version, and only under staging's key."""
    first = world.promote("borrowed")
    second = world.register("borrowed", seed=1)
    registry = world.registry
    honest = registry.by_number("borrowed", first.version).tags[STAGING_EVIDENCE]
    version = registry.by_number("borrowed", second.version)
    registry.tag(version, STAGING_EVIDENCE, honest)
    with pytest.raises(BundleError, match="is about borrowed version 1"):
        promote("borrowed", world.settings, second.version, say=quiet)
    forged = StagingEvidence(
        model="borrowed",
        digest=version.digest,
        version=version.version,
        run_id=version.run_id,
        checks=(("ready", True, "yes"),),
        tested_at="2013-04-01T00:00:00+00:00",
    )
    registry.tag(version, STAGING_EVIDENCE, sign(forged, "staging", Ed25519PrivateKey.generate()).decode())
    with pytest.raises(BundleError, match="trusted staging key"):
        promote("borrowed", world.settings, second.version, say=quiet)
    assert world.serves("production", "borrowed") == first.version


@pytest.mark.slow
def test_a_version_that_ran_before_is_refused_with_the_way_back_to_it(world: World) -> None:
    """Whoever promotes the last champion again means a rollback, which needs no comparison."""
    world.promote("regretted")
    world.promote("regretted", seed=1)
    with pytest.raises(FlightlineError, match=r"needs none: `python -m pipelines\.rollback regretted`"):
        promote("regretted", world.settings, "1", say=quiet)
    said: list[str] = []
    promote("regretted", world.settings, "2", say=said.append)
    assert said[-1].endswith(", as before")
    assert REFUSED in world.registry.by_number("regretted", "1").tags
    rollback("regretted", world.settings, say=quiet)
    back = world.registry.by_number("regretted", "1")
    assert REFUSED not in back.tags
    assert not back.description.startswith(NOTICE)  # what runs is not said to be refused


@pytest.mark.slow
def test_a_stale_comparison_is_refused_until_qualified_again(world: World) -> None:
    """A bundle that was compared with yesterday's champion is compared again before it replaces today's."""
    world.promote("stale")
    artifacts, bundle = world.build("stale", seed=1)
    qualify(bundle, world.settings, champion="f" * 64)
    registered = register("stale", world.settings, artifacts, quiet)
    deploy_staging("stale", world.settings, say=quiet)
    with pytest.raises(FlightlineError, match="was compared with ffffffffffff"):
        promote("stale", world.settings, say=quiet)
    live = ledger.live(ledger.read(world.settings.ledger), "production", "stale")
    assert live is not None
    qualify(bundle, world.settings, champion=live.digest)
    assert register("stale", world.settings, artifacts, quiet).version == registered.version
    assert promote("stale", world.settings, say=quiet).version == registered.version


@pytest.mark.slow
def test_a_version_that_fails_smoke_tests_in_production_leaves_it_untouched(world: World) -> None:
    """An impossible latency limit fails the suite: the old version answers, the champion is the old one."""
    first = world.promote("slow")
    second = world.stage("slow", seed=1)
    production = world.settings.environments["production"]
    hurried = msgspec.structs.replace(production, smoke=type(production.smoke)(requests=5, p90_ms=0.001))
    environments = {**world.settings.environments, "production": hurried}
    strict = replace(world.settings, environments=environments)
    before = ledger.history(ledger.read(world.settings.ledger), "production", "slow")
    with pytest.raises(FlightlineError, match="failed its smoke tests: latency"):
        promote("slow", strict, say=quiet)
    assert world.serves("production", "slow") == first.version
    assert world.registry.aliases("slow")[CHAMPION] == first.version
    assert "latency" in world.registry.by_number("slow", second.version).tags[REFUSED]
    entries = ledger.read(world.settings.ledger)
    assert ledger.history(entries, "production", "slow") == before
    assert (entries[-1].action, entries[-1].after.version) == ("refused", second.version)


def test_a_refusal_where_nothing_is_live_leaves_the_alias(world: World) -> None:
    """On a machine that serves nothing the alias may be somebody else's: it is not taken away."""
    registered = world.register("lonely")
    world.registry.set_alias("lonely", CHAMPION, registered.version)
    with pytest.raises(BundleError, match="did not pass staging"):
        deploy_production("lonely", world.settings, say=quiet)
    assert world.champion("lonely") == registered.version


def test_a_named_version_that_is_refused_does_not_move_the_alias(world: World) -> None:
    """The alias was not what this command carried out: whoever put it there is answered by the reconciler."""
    world.promote("named")
    second = world.register("named", seed=1)
    world.registry.set_alias("named", CHAMPION, second.version)
    with pytest.raises(BundleError, match="did not pass staging"):
        deploy_production("named", world.settings, second.version, say=quiet)
    assert world.champion("named") == second.version
    assert world.reconcile()["named"] == "refused"
    assert world.champion("named") == "1"


@pytest.mark.slow
def test_what_the_machine_cannot_do_is_no_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy port says nothing about the version: the click stays and is carried out the next time."""
    world.promote("busy")
    second = world.stage("busy", seed=1)
    world.registry.set_alias("busy", CHAMPION, second.version)

    def busy(*_: object) -> None:
        raise FlightlineError("port 1 is in use", "a free port", "Free it")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.delivery.services.ensure_service", busy)
        assert world.reconcile()["busy"] == "failed"
    assert world.champion("busy") == second.version
    assert REFUSED not in world.registry.by_number("busy", second.version).tags
    assert world.reconcile()["busy"] == "deployed"


def test_a_version_that_fails_staging_again_loses_its_evidence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passed yesterday and fails today: yesterday's evidence promotes nothing."""
    staged = world.stage("fickle")

    def failing(*_: object) -> tuple[Check, ...]:
        return (Check("latency", passed=False, seen="9 s"),)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.staging.suite.run_suite", failing)
        with pytest.raises(FlightlineError, match="latency"):
            deploy_staging("fickle", world.settings, say=quiet)
    assert STAGING_EVIDENCE not in world.registry.by_number("fickle", staged.version).tags
    with pytest.raises(BundleError, match="did not pass staging"):
        promote("fickle", world.settings, say=quiet)


def test_a_retraining_that_staging_refuses_was_rejected_until_staging_passes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision about the next retraining counts it; what the machine could not do is no refusal."""
    registered = world.register("turneddown")
    attempt = Attempt(datetime(2013, 5, 1, tzinfo=UTC), "candidate", "promoted")
    attempts.add("turneddown", attempt, world.settings, registered.digest)

    def outcome() -> str:
        (found,) = attempts.state("turneddown", world.settings).attempts
        return found.outcome

    def failing(*_: object) -> tuple[Check, ...]:
        return (Check("latency", passed=False, seen="too slow"),)

    def broken(*_: object, **__: object) -> None:
        raise FlightlineError("a port is taken", "a free one", "Free it")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.delivery.services.ensure_service", broken)
        with pytest.raises(FlightlineError, match="a port is taken"):
            deploy_staging("turneddown", world.settings, say=quiet)
    assert outcome() == "promoted"
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.staging.suite.run_suite", failing)
        with pytest.raises(FlightlineError, match="too slow"):
            deploy_staging("turneddown", world.settings, say=quiet)
    assert outcome() == "failed"
    deploy_staging("turneddown", world.settings, say=quiet)
    assert outcome() == "promoted"


def test_another_teams_model_is_never_touched(world: World) -> None:
    """A shared MLflow holds models that are not of this repository."""
    registered = world.register("foreign")
    world.registry.set_alias("foreign", CHAMPION, registered.version)
    assert "foreign" not in {item.model for item in reconcile(world.settings, quiet)}
    assert world.champion("foreign") == registered.version
    assert REFUSED not in world.registry.by_number("foreign", registered.version).tags


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_bad_download_does_not_harm_the_kept_release(world: World, damage: str) -> None:
    """Attestations that do not verify are refused before they replace those that do."""
    model = f"kept-{damage}"
    registered = world.promote(model)
    stored = next(
        (world.settings.var / "mlartifacts").glob(
            f"*/{registered.run_id}/artifacts/attestations/manifest.json"
        )
    )
    release = world.settings.releases / registered.digest
    before = {path: path.read_bytes() for path in (release / "attestations").iterdir()}
    if damage == "changed":
        stored.write_bytes(b"not a statement")
    else:
        stored.unlink()
    with pytest.raises(BundleError, match="manifest"):
        deploy_staging(model, world.settings, registered.version, say=quiet)
    assert {path: path.read_bytes() for path in (release / "attestations").iterdir()} == before
    open_release(release, model, registered.digest, world.settings, registered.run_id)
