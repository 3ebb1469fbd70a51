"""What staging signs, and which versions do not leave it or are refused after it (D10)."""

import base64
import json

import msgspec
import polars as pl
import pytest

from contract.errors import BundleError, FlightlineError
from contract.statements import STAGING_CHECKS, Qualification
from contract.strict import decode_json
from pipelines import ledger
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.registry import CHAMPION, REFUSED, STAGING, STAGING_EVIDENCE
from pipelines.deploy import deploy_production, deploy_staging
from pipelines.promote import promote
from pipelines.register import register
from pipelines.scoring.tables import Counted, Task, score_table
from pipelines.staging.policy import UNDECLARED
from serving.models.predictor import Predictor
from tests.conftest import toy_contract
from tests.pipelines.delivery.conftest import World, evidence, qualify, quiet, trained


def test_staging_signs_every_check_and_what_it_measured(world: World) -> None:
    """The whole suite against a running service; the evidence is enough for production."""
    staged = world.stage("witnessed")
    version = world.registry.by_number("witnessed", staged.version)
    envelope = json.loads(version.tags[STAGING_EVIDENCE])
    said = json.loads(base64.b64decode(envelope["payload"]))
    assert tuple(name for name, _, _ in said["checks"]) == STAGING_CHECKS
    assert all(passed for _, passed, _ in said["checks"])
    assert said["measured"]["load"]["errors"] == 0
    assert said["measured"]["load"]["requests_per_second"] > 0
    assert said["measured"]["pipeline verification"] == {
        "rows": 4.0,
        "refused": 0.0,
        "largest_difference": 0.0,
    }
    assert promote("witnessed", world.settings, say=quiet).version == staged.version


def test_a_version_that_is_too_slow_does_not_leave_staging(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load test bites on a real service: no evidence, no alias, and what staging served before."""
    first = world.stage("lame")
    second = world.register("lame", seed=1)
    impossible = msgspec.structs.replace(UNDECLARED.load, min_throughput=1000.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipelines.staging.policy.UNDECLARED", msgspec.structs.replace(UNDECLARED, load=impossible)
        )
        with pytest.raises(VersionRefusedError, match=r"failed its staging suite: load \(.* limit 1000"):
            deploy_staging("lame", world.settings, say=quiet)
    assert STAGING_EVIDENCE not in world.registry.by_number("lame", second.version).tags
    assert world.registry.aliases("lame")[STAGING] == world.serves("staging", "lame") == first.version


def test_a_version_that_the_batch_scorer_scores_otherwise_does_not_leave_staging(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline verification bites on a real service (C7)."""
    registered = world.register("twofaced")

    def another(task: Task, predictor: Predictor) -> Counted:
        counted = score_table(task, predictor)
        answers = pl.read_parquet(task.answers)
        answers.with_columns(pl.col("score.low") + 0.001).write_parquet(task.answers)
        return counted

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.staging.verification.score_table", another)
        with pytest.raises(VersionRefusedError, match=r"pipeline verification \(row 0 is .* apart"):
            deploy_staging("twofaced", world.settings, say=quiet)
    assert STAGING_EVIDENCE not in world.registry.by_number("twofaced", registered.version).tags


@pytest.mark.slow
def test_a_version_with_evidence_of_an_older_suite_is_refused_in_production(world: World) -> None:
    """The reason stands on the version; staged again, it is promoted."""
    first = world.promote("dated")
    second = world.stage("dated", seed=1)
    version = world.registry.by_number("dated", second.version)
    checks = tuple((name, True, "seen") for name in STAGING_CHECKS[:7])
    world.registry.tag(version, STAGING_EVIDENCE, evidence(version, world.settings, checks=checks))
    world.registry.set_alias("dated", CHAMPION, second.version)
    assert world.reconcile()["dated"] == "refused"
    assert "another suite" in world.registry.by_number("dated", second.version).tags[REFUSED]
    assert world.champion("dated") == world.serves("production", "dated") == first.version
    deploy_staging("dated", world.settings, second.version, say=quiet)
    assert promote("dated", world.settings, second.version, say=quiet).version == second.version


def test_a_failed_gate_is_refused_however_it_was_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the registration; and by the deployer, who trusts nobody, where the registration let it through."""
    artifacts = world.folder / "flunked"
    bundle = trained(artifacts, model="flunked", verdict="fail")
    qualify(bundle, world.settings)
    with pytest.raises(FlightlineError, match="although G03 failed"):
        register("flunked", world.settings, artifacts, quiet)
    with monkeypatch.context() as patch:
        path = world.settings.qualification(bundle.digest)
        said = decode_json(path.read_bytes(), Qualification, path.name)
        patch.setattr("pipelines.register.accepted", lambda *_: said)
        registered = register("flunked", world.settings, artifacts, quiet)
    with pytest.raises(BundleError, match=r"G03 failed for the bundle .* accepted all the same"):
        deploy_staging("flunked", world.settings, say=quiet)
    version = world.registry.by_number("flunked", registered.version)
    world.registry.tag(version, STAGING_EVIDENCE, evidence(version, world.settings))
    with pytest.raises(BundleError, match="G03 failed for the bundle"):
        deploy_production("flunked", world.settings, registered.version, say=quiet)
    assert ledger.live(ledger.read(world.settings.ledger), "production", "flunked") is None


@pytest.mark.slow
def test_an_older_contract_than_callers_use_is_refused_in_both_environments(world: World) -> None:
    """Callers send `letter`, which the newer version no longer takes: what answers keeps answering."""
    first = world.promote("narrow")
    artifacts = world.folder / "narrow-1"
    bundle = trained(artifacts, model="narrow", seed=1, contract=toy_contract("narrow", categories=False))
    qualify(bundle, world.settings, champion=first.digest)
    second = register("narrow", world.settings, artifacts, quiet)
    sentence = "has an older contract than version 1, which answers: it lacks"
    with pytest.raises(VersionRefusedError, match=sentence):
        deploy_staging("narrow", world.settings, say=quiet)
    version = world.registry.by_number("narrow", second.version)
    assert STAGING_EVIDENCE not in version.tags
    # As if it had been tested in another staging, where nothing ran before it.
    world.registry.tag(version, STAGING_EVIDENCE, evidence(version, world.settings))
    with pytest.raises(VersionRefusedError, match=sentence):
        promote("narrow", world.settings, second.version, say=quiet)
    assert "older contract" in world.registry.by_number("narrow", second.version).tags[REFUSED]
    assert world.champion("narrow") == world.serves("production", "narrow") == first.version
    assert world.serves("staging", "narrow") == first.version


@pytest.mark.slow
def test_a_suite_that_cannot_be_run_is_no_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that are not there say nothing about the version; what staging served before serves again."""
    first = world.stage("dataless")
    world.register("dataless", seed=1)

    def gone(*_: object) -> None:
        raise FlightlineError("the distribution is not installed", "it", "Run: make setup")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.staging.suite.the_past", gone)
        with pytest.raises(FlightlineError, match="is not installed") as found:
            deploy_staging("dataless", world.settings, say=quiet)
    assert not isinstance(found.value, VersionRefusedError)
    assert world.serves("staging", "dataless") == world.registry.aliases("dataless")[STAGING] == first.version
