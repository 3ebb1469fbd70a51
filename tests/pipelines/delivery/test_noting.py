"""What qualification found is read in MLflow, of a bundle that is never registered, too."""

from pathlib import Path

from pipelines.delivery.noting import note_qualification
from pipelines.track import track
from tests.pipelines.delivery.conftest import World, qualify, quiet, settings_in, trained


def test_what_the_world_said_of_a_rejected_bundle_is_read_on_its_run(world: World) -> None:
    """No version will ever tell: tags and the table of all gates, once however often it is written (S8)."""
    artifacts = world.folder / "told"
    bundle = trained(artifacts, model="told")
    run_id = track("told", world.settings, artifacts, quiet).run_id
    qualify(bundle, world.settings, outcome="failed")
    assert note_qualification(bundle, world.settings, quiet)
    first = dict(world.registry.client.get_run(run_id).data.tags)
    assert note_qualification(bundle, world.settings, quiet)
    assert dict(world.registry.client.get_run(run_id).data.tags) == first
    assert {name: first[name] for name in ("gate.G03", "gate.G05", "gate.G10", "gates", "qualification")} == {
        "gate.G03": "pass",
        "gate.G05": "not applicable",
        "gate.G10": "fail",
        "gates": "fail",
        "qualification": "failed",
    }
    assert first["mlflow.note.content"].count("| G10 speed | fail | 1.2 | <= 3 | timed |") == 1
    assert "# told" in first["mlflow.note.content"]
    qualify(bundle, world.settings, champion="f" * 64)  # the world has changed, and it was asked again
    assert note_qualification(bundle, world.settings, quiet)
    later = world.registry.client.get_run(run_id).data.tags
    assert (later["gate.G10"], later["gates"], later["qualification"]) == ("pass", "pass", "accepted")
    assert later["qualification.champion"] == "f" * 64


def test_a_bundle_that_was_judged_before_it_was_tracked_tells_the_same(world: World) -> None:
    """Without a run the outcome is kept, and that is said; tracking writes it."""
    artifacts = world.folder / "early"
    bundle = trained(artifacts, model="early")
    qualify(bundle, world.settings, outcome="failed")
    said: list[str] = []
    assert not note_qualification(bundle, world.settings, said.append)
    assert said == [f"early: no run in MLflow has bundle {bundle.digest[:12]}; tracking it adds this"]
    run = track("early", world.settings, artifacts, quiet)
    tags = world.registry.client.get_run(run.run_id).data.tags
    assert (tags["gate.G10"], tags["qualification"], tags["tracked"]) == ("fail", "failed", "yes")


def test_without_mlflow_a_bundle_is_judged_all_the_same(tmp_path: Path) -> None:
    """Nothing listens: the outcome stays where it is, and one line says how it gets there."""
    settings = settings_in(tmp_path / "var")
    bundle = trained(tmp_path / "artifacts")
    qualify(bundle, settings, outcome="kept")
    said: list[str] = []
    assert not note_qualification(bundle, settings, said.append)
    (line,) = said
    assert line.startswith("toy: not noted in MLflow (MLflow does not answer")
    assert line.endswith("qualify again to do that")
