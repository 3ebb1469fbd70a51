"""The status shows what runs, on what evidence and by whom, and where the registry says otherwise."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from contract.statements import STAGING_CHECKS
from contract.strict import encode_json
from pipelines import ledger
from pipelines import status as command
from pipelines.delivery.aliases import Pending
from pipelines.delivery.registry import CHAMPION, REFUSED, STAGING_EVIDENCE
from pipelines.delivery.standing import Evidence, Refusal, Row, status
from pipelines.machine import files
from pipelines.machine.settings import Settings
from serving.models.desired import Desired, DesiredModel, DesiredVersion, change_desired, write_desired
from tests.pipelines.delivery.conftest import World, evidence, free_ports, settings_in
from tests.pipelines.delivery.test_board import shown


def of(world: World, environment: str, model: str) -> Row:
    """The row of one model in one environment."""
    (row,) = [r for r in status(world.settings).rows if (r.environment, r.model) == (environment, model)]
    return row


@pytest.mark.unit
def test_a_version_that_was_tried_and_refused_is_shown_until_the_next_change(tmp_path: Path) -> None:
    """What ran goes on, since when it ran; the ledger alone tells, with nothing running."""
    settings = settings_in(tmp_path)

    def add(action: ledger.Action, version: str, day: int) -> None:
        at = datetime(2013, 4, day, tzinfo=UTC)
        placed = ledger.Placed(version, version * 64)
        ledger.append(
            settings.ledger,
            ledger.Entry(at, "production", "toy", action, None, placed, "ada", "it is slow", ""),
        )

    def row() -> Row:
        (found,) = status(settings).rows
        return found

    add("deploy", "1", 1)
    assert row().tried is None
    add("refused", "2", 2)
    assert (row().version, row().since) == ("1", "2013-04-01 00:00:00Z")
    assert row().tried == Refusal("2", "2013-04-02T00:00:00+00:00", "ada", "it is slow")
    text = shown(status(settings))
    assert "refused  version 2, tried by ada, 2013-04-02 00:00Z: it is slow" in text
    add("deploy", "3", 3)
    assert row().tried is None


@pytest.mark.unit
def test_an_alias_that_waits_for_mlflow_is_shown_to(tmp_path: Path) -> None:
    """Rolled back while MLflow was down: what runs is known, and where the alias is to go."""
    settings = settings_in(tmp_path)
    deployed(settings, "production", "1", "2")
    note = Pending("production", "toy", "champion", "2", ("1",))
    path = settings.var / "pending-aliases" / "production.toy.json"
    for version, awaited in (("2", "2"), ("3", "")):  # a note that was never carried out promises nothing
        files.replace(path, encode_json(msgspec.structs.replace(note, version=version)))
        (row,) = status(settings).rows
        assert (row.version, row.alias, row.awaited) == ("2", "", awaited)
    files.replace(path, encode_json(note))
    text = shown(status(settings))
    assert (
        f"registry not reachable: MLflow does not answer at {settings.tracking_uri}; is to be moved to "
        in text
    )
    assert "is to be moved to version 2 once MLflow answers" in text
    assert "version 2 (222222222222) for" in text


@pytest.mark.unit
def test_a_ledger_that_was_changed_hides_no_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence names the line; what is to be served is shown, and a program knows by the exit code."""
    settings = settings_in(tmp_path)
    deployed(settings, "production", "1", "2")
    for environment, version in (("staging", "3"), ("production", "2")):
        wanted = DesiredModel.of(version, str(settings.releases / version), version * 64)
        write_desired(
            settings.state(environment), Desired(generation=1, default="toy", models={"toy": wanted})
        )
    for name, value in settings.variables().items():
        monkeypatch.setenv(name, value)
    assert command.main(["--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["ledger"], whole["rows"][0]["version"]) == ("", "2")
    lines = settings.ledger.read_text().splitlines(keepends=True)
    settings.ledger.write_text("".join([lines[0], lines[1].replace('"ada"', '"eve"')]))
    assert command.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ledger"].startswith("ledger.jsonl, line 2 was edited, or a line before it removed")
    assert [(row["environment"], row["version"], row["split"]) for row in found["rows"]] == [
        ("staging", "", {"3": 100.0}),
        ("production", "", {"2": 100.0}),
    ]
    assert found["services"] == {"staging": "stopped", "production": "stopped"}
    assert command.main([]) == 1
    text = capsys.readouterr().out
    assert "ledger  ledger.jsonl, line 2 was edited" in text
    assert text.count("line 2") == 1
    assert text.count("runs     not known, as the ledger is not believed") == 2
    assert "all to 3" in text
    assert "never ran" not in text


def deployed(settings: Settings, environment: str, *versions: str) -> None:
    """Lines in the ledger: each of these versions of toy took over from the one before."""
    before = None
    for day, version in enumerate(versions, start=1):
        placed = ledger.Placed(version, version * 64)
        at = datetime(2013, 4, day, tzinfo=UTC)
        ledger.append(
            settings.ledger,
            ledger.Entry(at, environment, "toy", "deploy", before, placed, "ada", "it is", ""),
        )
        before = placed


def test_a_promoted_version_shows_its_evidence_and_who_promoted_it(world: World) -> None:
    """In both environments; the row can be written as JSON."""
    registered = world.promote("stood")
    staging, production = of(world, "staging", "stood"), of(world, "production", "stood")
    for row in (staging, production):
        assert (row.version, row.digest, row.alias) == (registered.version, registered.digest, "1")
        assert (row.evidence.state, row.evidence.checks) == ("passed", STAGING_CHECKS)
        assert row.evidence.measured["load"]["errors"] == 0
        assert row.split == {"1": 100.0}
        assert not row.disagrees
        assert 0 <= (row.age_s or -1) < 600
    assert production.change is not None
    assert (production.change.who, production.change.action) == ("ada", "deploy")
    assert len(production.change.evidence) == 64
    assert json.loads(json.dumps(command.asdict(status(world.settings))))["rows"]


@pytest.mark.slow
def test_evidence_that_production_would_not_believe_is_shown_as_refused(world: World) -> None:
    """By the rules of production itself, with its reason."""
    registered = world.promote("doubted")
    version = world.registry.by_number("doubted", registered.version)
    other = evidence(version, world.settings, digest="0" * 64)
    world.registry.tag(version, STAGING_EVIDENCE, other)
    found = of(world, "production", "doubted").evidence
    assert found.state == "refused"
    assert "000000000000" in found.reason
    world.registry.tag(version, STAGING_EVIDENCE, "yes")
    assert "is not JSON" in of(world, "production", "doubted").evidence.reason
    world.registry.untag(world.registry.by_number("doubted", "1"), STAGING_EVIDENCE)
    assert of(world, "production", "doubted").evidence == Evidence("missing")


def test_a_split_and_a_mirror_are_shown_as_they_are_desired(world: World) -> None:
    """What a rollout does at the moment, step by step."""
    first = world.promote("divided")
    second = world.register("divided", seed=1)
    state = world.settings.state("staging")

    def split(before: Desired | None) -> Desired:
        assert before is not None
        model = before.models["divided"]
        release = DesiredVersion(model.champion.release, model.champion.digest)
        return replaced(
            before, "divided", versions={"1": release, "2": release}, split={"1": 90.0, "2": 10.0}
        )

    assert (first.version, second.version) == ("1", "2")
    try:
        change_desired(state, split)
        row = of(world, "staging", "divided")
        assert (row.split, row.loaded) == ({"1": 90.0, "2": 10.0}, ("1", "2"))
    finally:
        change_desired(state, lambda before: replaced(before, "divided", versions=None, split={}))


def replaced(before: Desired | None, name: str, *, versions: object, split: dict[str, float]) -> Desired:
    """A desired state with one model changed; without `versions`, down to its first."""
    assert before is not None
    model = before.models[name]
    changed = msgspec.structs.replace(
        model, versions=versions or {model.default: model.champion}, split=split
    )
    return msgspec.structs.replace(before, models={**before.models, name: changed})


def test_a_refused_click_shows_where_the_alias_is_and_why_not(world: World) -> None:
    """Until somebody reconciles, the alias names what does not run."""
    world.promote("clicked-on")
    second = world.register("clicked-on", seed=1)
    version = world.registry.by_number("clicked-on", second.version)
    world.registry.tag(version, REFUSED, "it did not pass staging")
    world.registry.set_alias("clicked-on", CHAMPION, second.version)
    row = of(world, "production", "clicked-on")
    assert row.disagrees
    assert (row.version, row.alias, row.refused) == ("1", "2", "it did not pass staging")


def test_without_mlflow_the_ledger_and_the_services_still_tell(world: World) -> None:
    """Version, age, traffic and who changed it; what only the registry knows is called unknown."""
    world.promote("offline")
    (port,) = free_ports(1)
    away = replace(world.settings, mlflow_port=port, tracking_uri=f"http://127.0.0.1:{port}")
    found = status(away)
    assert found.mlflow.startswith("does not answer")
    assert found.services["production"] == "serving"
    (row,) = [r for r in found.rows if (r.environment, r.model) == ("production", "offline")]
    assert (row.version, row.alias, row.split) == ("1", "", {"1": 100.0})
    assert row.evidence == Evidence("unknown", reason="MLflow does not answer")
    assert row.change is not None
    assert row.change.who == "ada"
    assert not row.disagrees
    assert row.alias_unknown == f"registry not reachable: MLflow does not answer at http://127.0.0.1:{port}"
    text = shown(found)
    assert f"alias    {row.alias_unknown}" in text
    assert "all to 1" in text
    assert of(world, "production", "offline").alias_unknown == ""
