"""Only what was accepted gets into the registry, once and whole, with its evidence (D4)."""

import hashlib
import shutil

import msgspec
import pytest

from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.statements import Qualification
from contract.strict import decode_json, encode_json
from pipelines.building.artifacts import Duration, duration_file
from pipelines.delivery.registry import (
    CHALLENGER,
    Registry,
)
from pipelines.delivery.releases import open_release
from pipelines.deploy import deploy_staging
from pipelines.register import register
from pipelines.track import track
from tests.pipelines.delivery.conftest import World, qualify, quiet, trained


def test_registering_twice_makes_one_version(world: World) -> None:
    """A bundle is registered once, with its evidence where a person sees it."""
    artifacts, bundle = world.build("once")
    first = register("once", world.settings, artifacts, quiet)
    second = register("once", world.settings, artifacts, quiet)
    assert (first.created, second.created) == (True, False)
    assert (first.version, first.run_id) == (second.version, second.run_id)
    found = world.registry.by_alias("once", CHALLENGER)
    assert (found.version, found.digest) == (first.version, bundle.digest)
    stored = world.registry.client.get_model_version("once", first.version)
    assert "| G03 quality | pass |" in stored.description
    assert "| G10 speed | pass | 1.2 | <= 3 | timed |" in stored.description
    assert stored.description.count("## Gates") == 1
    run = world.registry.client.get_run(first.run_id)
    assert {name: run.data.tags.get(f"gate.{name}") for name in ("G03", "G05", "G10")} == {
        "G03": "pass",
        "G05": "not applicable",
        "G10": "pass",
    }
    assert stored.source.startswith("mlflow-artifacts:/")


def test_a_run_says_how_long_its_training_took(world: World) -> None:
    """M6: with the accuracy, in MLflow; a time that was taken of another graph is not this one's."""
    artifacts, bundle = world.build("timed")
    graph = hashlib.sha256((bundle.path / "model.onnx").read_bytes()).hexdigest()
    path = duration_file("timed", artifacts.parent)
    path.parent.mkdir(parents=True)
    client = world.registry.client
    path.write_bytes(encode_json(Duration(graph=graph, seconds=2.5)))
    run_id = track("timed", world.settings, artifacts, quiet).run_id
    assert client.get_run(run_id).data.metrics["training_seconds"] == 2.5
    artifacts, _ = world.build("cached")
    path = duration_file("cached", artifacts.parent)
    path.write_bytes(encode_json(Duration(graph="0" * 64, seconds=2.5)))
    run_id = track("cached", world.settings, artifacts, quiet).run_id
    assert "training_seconds" not in client.get_run(run_id).data.metrics


def test_a_run_is_tracked_with_curve_metrics_and_gates(world: World) -> None:
    """Tracking an unfinished run again completes it: points are not doubled and no run is added."""
    artifacts, bundle = world.build("tracked")
    first = track("tracked", world.settings, artifacts, quiet)
    client = world.registry.client
    client.delete_tag(first.run_id, "tracked")  # as an interruption leaves it
    second = track("tracked", world.settings, artifacts, quiet)
    assert (second.run_id, second.created) == (first.run_id, True)
    curve = client.get_metric_history(first.run_id, "validation.log_loss")
    assert [(point.step, point.value) for point in curve] == [(0, 0.61), (1, 0.52), (2, 0.45)]
    run = client.get_run(first.run_id)
    assert run.data.tags["gate.G03"] == "pass"
    assert run.data.tags["digest"] == bundle.digest
    assert run.data.metrics["roc_auc"] == pytest.approx(0.71)
    assert run.info.status == "FINISHED"


def test_a_run_shows_its_report_and_what_each_group_adds(world: World) -> None:
    """Pictures and data beside the metrics, the gains with both bounds, the card without its YAML (C11)."""
    artifacts, _ = world.build("shown")
    client = world.registry.client
    run = client.get_run(track("shown", world.settings, artifacts, quiet).run_id)
    names = {item.path for item in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/roc.png", "report/roc.json", "report/metrics.json", "report/ablation.json"} <= names
    found = {name: value for name, value in run.data.metrics.items() if name.startswith("ablation.")}
    assert found == {"ablation.sizes.gain": 0.02, "ablation.sizes.lower": 0.01, "ablation.sizes.upper": 0.03}
    assert run.data.tags["mlflow.note.content"].startswith("# shown")


def test_a_rejected_run_is_tracked_but_not_registered(world: World) -> None:
    """Only an accepted qualification of exactly this bundle opens the registry."""
    artifacts = world.folder / "rejected"
    bundle = trained(artifacts, model="rejected", verdict="fail")
    run = track("rejected", world.settings, artifacts, quiet)
    assert world.registry.client.get_run(run.run_id).data.tags["gates"] == "fail"
    with pytest.raises(FlightlineError, match="was not qualified"):
        register("rejected", world.settings, artifacts, quiet)
    for outcome in ("failed", "kept"):
        qualify(bundle, world.settings, outcome=outcome)
        with pytest.raises(FlightlineError, match=f"is '{outcome}'"):
            register("rejected", world.settings, artifacts, quiet)
    other = trained(world.folder / "rejected-other", model="rejected", seed=5)
    qualify(other, world.settings)
    shutil.copy(
        world.settings.qualification(other.digest), world.settings.qualification(bundle.digest)
    )  # an acceptance of something else
    with pytest.raises(FlightlineError, match="qualifies rejected"):
        register("rejected", world.settings, artifacts, quiet)
    assert "rejected" not in world.registry.models()


def test_an_acceptance_with_a_failed_gate_is_refused(world: World) -> None:
    """A qualification that contradicts itself opens nothing."""
    artifacts, bundle = world.build("contradiction")
    path = world.settings.qualification(bundle.digest)
    said = decode_json(path.read_bytes(), Qualification, path.name)
    slow = (said.verdicts[0], msgspec.structs.replace(said.verdicts[1], verdict="fail"))
    path.write_bytes(encode_json(msgspec.structs.replace(said, verdicts=slow)))
    with pytest.raises(FlightlineError, match="although G10 failed"):
        register("contradiction", world.settings, artifacts, quiet)
    assert "contradiction" not in world.registry.models()


def test_an_interrupted_registration_is_continued(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before the version, there is none; cut off before the alias, the next run sets it."""
    artifacts, bundle = world.build("cutoff")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for method in ("create", "set_alias"):
        with monkeypatch.context() as patch:
            patch.setattr(Registry, method, interrupt)
            with pytest.raises(KeyboardInterrupt):
                register("cutoff", world.settings, artifacts, quiet)
        found = world.registry.by_digest("cutoff", bundle.digest)
        assert (found is None) == (method == "create")
        assert CHALLENGER not in world.registry.aliases("cutoff")
    registered = register("cutoff", world.settings, artifacts, quiet)
    assert world.registry.aliases("cutoff") == {CHALLENGER: registered.version}
    assert len(world.registry.versions("cutoff")) == 1


def test_a_version_whose_run_was_deleted_is_attested_where_it_looks(world: World) -> None:
    """The run is tracked anew, yet the version speaks of its own: qualified again, it can be deployed."""
    registered = world.register("orphan")
    world.registry.client.delete_run(registered.run_id)
    artifacts, digest = world.folder / "orphan-0", registered.digest
    qualify(open_bundle(artifacts / "orphan" / "bundle"), world.settings, champion="f" * 64)
    again = register("orphan", world.settings, artifacts, quiet)
    assert (again.version, again.run_id, again.created) == (registered.version, registered.run_id, False)
    deploy_staging("orphan", world.settings, say=quiet)
    release = world.settings.releases / digest
    found = open_release(release, "orphan", digest, world.settings, registered.run_id)
    assert found.qualification.champion == "f" * 64
    assert {item.code: item.verdict for item in found.qualification.verdicts} == {
        "G05": "pass",
        "G10": "pass",
    }
    stored = world.registry.client.get_model_version("orphan", registered.version)
    assert "| G05 champion | pass |" in stored.description  # it was `not applicable` when first registered
